"""Laws of every partition, cases by hand, and what each refuses."""

import hashlib
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from raycollab.data import IID, ByColumn, Dirichlet, DirichletSizes, Explicit, LabelShards, partition
from raycollab.errors import ConfigError, DataError

COLUMNS = {"x": torch.zeros(600, 2), "label": torch.arange(600) * 7 % 10, "user": torch.arange(600) % 4}
EVERY = [
    IID(7, seed=3),
    Dirichlet(alpha=0.5, num_parts=7, seed=3),
    Dirichlet(alpha=0.1, num_parts=5, seed=3, by="user"),
    DirichletSizes(alpha=0.5, num_parts=7, seed=3),
    LabelShards(num_parts=7, seed=3),
    ByColumn("user", (0, 1, 2, 3)),
    Explicit((tuple(range(300, 600)), tuple(range(300)))),
]
PINNED = [
    "d23667eb27a19fd3",
    "9b86338fd3e89375",
    "ca49ccac3cdda91f",
    "687a7b965bcb74de",
    "775a159e7ea6da81",
    "529500f01a354d16",
    "801720bf4d87f233",
]


def names(rules):
    return [type(rule).__name__ + str(i) for i, rule in enumerate(rules)]


def digest(parts: list[np.ndarray]) -> str:
    return hashlib.sha256(b"|".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()[:16]


@pytest.mark.parametrize("rule", EVERY, ids=names(EVERY))
def test_laws(rule):
    """Disjoint, complete, sorted, never empty, as many as promised, and the same again after pickling."""
    parts = rule.assign(COLUMNS)
    assert len(parts) == rule.num_parts
    assert sorted(np.concatenate(parts).tolist()) == list(range(600))
    assert all(len(part) and part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)
    again = pickle.loads(pickle.dumps(rule))
    assert again == rule
    assert hash(again) == hash(rule)
    assert digest(again.assign(COLUMNS)) == digest(parts)


@pytest.mark.parametrize(("rule", "expected"), list(zip(EVERY, PINNED, strict=True)), ids=names(EVERY))
def test_same_on_every_machine(rule, expected):
    """A change here moves rows between parties in experiments that people already ran."""
    assert digest(rule.assign(COLUMNS)) == expected


@pytest.mark.parametrize("rule", [IID(5), Dirichlet(1.0, 5), DirichletSizes(1.0, 5), LabelShards(5)], ids=repr)
def test_the_seed_matters(rule):
    assert digest(rule.assign(COLUMNS)) != digest(replace(rule, seed=1).assign(COLUMNS))


def test_iid_sizes_differ_by_one():
    assert sorted(len(part) for part in IID(7).assign(COLUMNS)) == [85, 85, 86, 86, 86, 86, 86]
    assert [len(part) for part in IID(600).assign(COLUMNS)] == [1] * 600


def mix(parts: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.bincount(COLUMNS["label"].numpy()[part], minlength=10) for part in parts])


def test_dirichlet_skew_follows_alpha():
    """Each of 10 labels has 60 rows, so at a large alpha each of 5 parts holds 12 of each.

    At alpha 10,000 a share has a standard deviation of sqrt(0.2 * 0.8 / 50,001) = 0.0018, or 0.1 rows: one is safe.
    At 0.1 most of a label's rows lie in one part.
    """
    even = mix(Dirichlet(10_000.0, 5).assign(COLUMNS))
    assert np.abs(even - 12).max() <= 1
    assert np.median(mix(Dirichlet(0.1, 5).assign(COLUMNS)).max(axis=0)) > 40


def test_dirichlet_cuts_by_hand():
    """Shares .25 .25 .5 of 10 rows end at 2.5 (rounded up), 5 and 10: 3, 2 and 5 rows. Of 4 rows at 1, 2 and 4."""

    class Fixed:
        def dirichlet(self, alpha, size):
            return np.tile([0.25, 0.25, 0.5], (size, 1))

    assert partition._shares(Fixed(), 1.0, np.array([10, 4]), 3).tolist() == [[3, 1], [2, 1], [5, 2]]


def test_dirichlet_redraws_until_every_part_has_enough():
    assert min(len(part) for part in Dirichlet(0.1, 8, min_examples=10).assign(COLUMNS)) >= 10
    assert min(len(part) for part in DirichletSizes(0.5, 8, min_examples=5).assign(COLUMNS)) >= 5


@pytest.mark.parametrize("rule", [Dirichlet(1e-4, 100), DirichletSizes(1e-4, 100), Dirichlet(1e-300, 10)])
def test_too_much_skew_says_what_to_do(rule):
    with pytest.raises(
        DataError, match=r"after 100 draws .*min_examples=2 examples; raise alpha, use fewer parts or lower"
    ):
        rule.assign(COLUMNS)


def test_dirichlet_sizes_keep_the_mix():
    parts = DirichletSizes(0.5, 4, seed=1).assign(COLUMNS)
    sizes = sorted(len(part) for part in parts)
    assert sizes[-1] > 2 * sizes[0]


def test_label_shards_by_hand():
    """Labels 1 0 1 0 2 2 3 3 sort (stably) to rows 1 3 | 0 2 | 4 5 | 6 7: two parts get two of these pieces each."""
    columns = {"label": torch.tensor([1, 0, 1, 0, 2, 2, 3, 3])}
    pieces = [{1, 3}, {0, 2}, {4, 5}, {6, 7}]
    parts = [set(part.tolist()) for part in LabelShards(2, labels_per_part=2).assign(columns)]
    assert all(sum(piece <= part for piece in pieces) == 2 for part in parts)


def test_label_shards_leave_few_labels():
    """600 rows in 20 pieces of 30, 60 rows a label: no piece crosses a label, so two labels a part at most."""
    assert (mix(LabelShards(10).assign(COLUMNS)) > 0).sum(axis=1).max() <= 2


def test_by_column_by_hand():
    columns = {"site": torch.tensor([3, 1, 3, 2])}
    assert [part.tolist() for part in ByColumn("site", (3, 1)).assign(columns)] == [[0, 2], [1]]
    assert [part.tolist() for part in ByColumn("site", [0.1]).assign({"site": torch.tensor([0.1, 0.2])})] == [[0]]
    assert ByColumn("site", [3, 1]) == ByColumn("site", (3, 1))


def test_explicit_by_hand():
    rule = Explicit([[2, 0], [1]])
    assert rule == Explicit(((2, 0), (1,)))
    assert [part.tolist() for part in rule.assign({"x": torch.zeros(5)})] == [[0, 2], [1]]


@pytest.mark.parametrize("kind", [IID, lambda n: Dirichlet(1.0, n), lambda n: DirichletSizes(1.0, n), LabelShards])
def test_refuses_num_parts(kind):
    with pytest.raises(ConfigError, match=r"\.num_parts=0: must be >= 1"):
        kind(0)


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("kind", [Dirichlet, DirichletSizes])
def test_refuses_alpha(kind, alpha):
    with pytest.raises(ConfigError, match=rf"{kind.__name__}.alpha=.*must be > 0"):
        kind(alpha, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dirichlet(1.0, 2, min_examples=0), "Dirichlet.min_examples=0: must be >= 1"),
        (lambda: LabelShards(2, labels_per_part=0), "LabelShards.labels_per_part=0: must be >= 1"),
        (lambda: ByColumn("user", ()), "ByColumn.values=.*at least one value"),
        (lambda: ByColumn("user", (1, 1)), r"ByColumn.values=\(1, 1\): must differ"),
        (lambda: Explicit(()), "Explicit.parts=.*at least one part"),
        (lambda: Explicit(((1,), ())), "every part must name at least one row"),
        (lambda: Explicit(((1,), (-1,))), "=-1: row numbers start at 0"),
        (lambda: Explicit(((1, 2), (2,))), "<1 rows twice>.*parts must be disjoint"),
    ],
)
def test_refuses_settings(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            IID(601),
            r"IID\(num_parts=601, seed=0\): needs 601 examples or more, there are 600; use fewer parts or more data",
        ),
        (Dirichlet(1.0, 400), "needs 800 examples or more, there are 600"),
        (DirichletSizes(1.0, 400), "needs 800 examples or more, there are 600"),
        (LabelShards(301), "needs 602 examples or more, there are 600"),
        (Dirichlet(1.0, 3, by="hospital"), "no column 'hospital'; there are: label, user, x"),
        (LabelShards(3, by="x"), r"column 'x' has shape \(600, 2\); rows are grouped by one value"),
        (ByColumn("user", (0, 9)), "no row has user=9; the column holds: 0, 1, 2, 3"),
        (ByColumn("user", (0, 2.5)), "no row has user=2.5"),
        (Explicit(((0,), (600,))), r"names row 600, but there are 600 examples \(0 to 599\)"),
    ],
)
def test_refuses_columns(rule, message):
    with pytest.raises(DataError, match=message):
        rule.assign(COLUMNS)
