"""Sources are values that read once; shards give every example exactly once an epoch."""

import hashlib
import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from raycollab.data import IID, Arrays, Digits, Dirichlet, Holdout, Part, Shard, Source, base, read_columns
from raycollab.data import stratified_split as split_rows
from raycollab.errors import ConfigError, DataError

READS: list[str] = []


@dataclass(frozen=True)
class Counted(Source):
    """A source that notes when it is read."""

    name: str
    n: int = 100
    unused: int = field(default=0, compare=False)

    def read(self):
        READS.append(self.name)
        return {"x": torch.arange(self.n, dtype=torch.float32)[:, None], "label": torch.arange(self.n) % 4}

    def describe(self):
        return self.name


def numbers(n: int, width: int = 3) -> dict[str, torch.Tensor]:
    """Rows that can be told apart: row i of x holds i everywhere."""
    return {"x": torch.arange(n, dtype=torch.float32)[:, None].expand(n, width).clone(), "label": torch.arange(n) % 5}


def ids(columns) -> list[int]:
    return columns["x"][:, 0].int().tolist()


def epoch(shard: Shard, **options) -> list[int]:
    return [i for batch in shard.batches("train", 7, **options) for i in ids(batch)]


# ---- sources


def test_split_reads_nothing_and_parts_read_the_source_once():
    READS.clear()
    parts = Counted("once").split(IID(10))
    assert READS == []
    held = [i for part in parts for i in ids(part.read())]
    assert READS == ["once"]
    assert sorted(held) == list(range(100))


def test_a_thousand_parts_cut_the_source_once():
    base._rows_of_parts.cache_clear()
    parts = Counted("many", n=4000).split(Dirichlet(alpha=5.0, num_parts=1000, min_examples=1))
    assert sum(len(part.read()["label"]) for part in parts) == 4000
    assert base._rows_of_parts.cache_info().misses == 1


def test_equal_sources_share_what_was_read():
    assert read_columns(Digits("test")) is read_columns(Digits("test"))


@pytest.mark.parametrize(
    "source",
    [Digits(), Part(Digits(), IID(3), 2), Holdout(Digits("all"), "test"), Holdout(Part(Digits(), IID(3), 0), "train")],
)
def test_sources_are_values(source):
    again = pickle.loads(pickle.dumps(source))
    assert again == source
    assert hash(again) == hash(source)
    assert len(source.describe()) < 100
    assert "\n" not in source.describe()
    first, second = source.read(), again.read()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_writing_into_a_part_leaves_the_source_alone():
    part = Counted("alone").split(IID(2))[0]
    part.read()["x"].fill_(-1)
    assert read_columns(Counted("alone"))["x"].min() == 0


def test_part_index_outside_the_partition():
    with pytest.raises(ConfigError, match=r"Part.index=3: must be in 0 to 2"):
        Part(Digits(), IID(3), 3)


# ---- holdout


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.73])
def test_holdout_sides_are_disjoint_complete_and_stratified(fraction):
    source = Counted("holdout", n=101)
    train, test = (Holdout(source, side, fraction, seed=3).read() for side in ("train", "test"))
    assert sorted(ids(train) + ids(test)) == list(range(101))
    assert len(ids(test)) == int(101 * fraction + 0.5)
    for label in range(4):
        total = len(range(label, 101, 4))
        assert abs(int((test["label"] == label).sum()) - total * fraction) <= 1


def test_holdout_seed_changes_the_rows():
    source = Counted("seeds")
    assert ids(Holdout(source, "test", seed=0).read()) == ids(Holdout(source, "test", seed=0).read())
    assert ids(Holdout(source, "test", seed=0).read()) != ids(Holdout(source, "test", seed=1).read())


def test_holdout_without_whole_labels_is_a_plain_split():
    columns = {"x": torch.zeros(10, 2), "label": torch.rand(10)}
    train, test = split_rows(columns, 0.3, 0, name="regression")
    assert sorted([*train, *test]) == list(range(10))
    assert len(test) == 3


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_holdout_refuses_fraction(fraction):
    with pytest.raises(ConfigError, match=r"Holdout.fraction=.*must be between 0 and 1"):
        Holdout(Digits(), "test", fraction)


def test_holdout_refuses_side():
    with pytest.raises(ConfigError, match=r"Holdout.keep='val': must be 'train' or 'test'"):
        Holdout(Digits(), "val")


def test_holdout_with_an_empty_side_says_so():
    with pytest.raises(DataError, match=r"tiny: 2 examples split with fraction 0.1 leave 2 for train and 0 for test"):
        Holdout(Counted("tiny", n=2), "test", 0.1).read()


# ---- shard


@pytest.mark.parametrize(
    ("n", "fraction", "num_val"), [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (10, 0.0, 0), (10, 0.2, 2), (100, 0.1, 10)]
)
def test_validation_size(n, fraction, num_val):
    shard = Shard(numbers(n), val_fraction=fraction, seed=0)
    assert shard.num_examples("val") == num_val
    assert shard.num_examples() == n - num_val


def test_train_and_val_are_disjoint_and_complete():
    shard = Shard(numbers(50), val_fraction=0.3, seed=1)
    assert sorted(ids(shard.columns("train")) + ids(shard.columns("val"))) == list(range(50))
    assert shard.modalities == ("x",)


def test_the_split_follows_the_seed():
    held = [ids(Shard(numbers(50), val_fraction=0.3, seed=seed).columns("val")) for seed in (1, 1, 2)]
    assert held[0] == held[1]
    assert held[0] != held[2]


@pytest.mark.parametrize("limit", [0, 2**26])
@pytest.mark.parametrize("seed", [None, 0, 5, 2**63 - 1])
def test_every_example_exactly_once_an_epoch(monkeypatch, limit, seed):
    monkeypatch.setattr(base, "_PERMUTE_WHOLE_BYTES", limit)
    shard = Shard(numbers(50), val_fraction=0.0, seed=0)
    held = epoch(shard, seed=seed)
    assert sorted(held) == list(range(50))
    assert (held == list(range(50))) == (seed is None)


def test_both_ways_to_shuffle_give_the_same_batches(monkeypatch):
    """Small columns are permuted whole, large ones selected per batch; the limit changes the speed only."""
    shard = Shard(numbers(50), val_fraction=0.1, seed=0)
    whole = epoch(shard, seed=9)
    monkeypatch.setattr(base, "_PERMUTE_WHOLE_BYTES", 45 * 8)  # x has 12 bytes a row, label 8: one of each way
    assert epoch(shard, seed=9) == whole
    assert all((batch["x"][:, 0].int() % 5 == batch["label"]).all() for batch in shard.batches("train", 8, seed=9))


def test_batches_follow_the_seed():
    shard = Shard(numbers(50), val_fraction=0.0, seed=0)
    assert epoch(shard, seed=1) == epoch(shard, seed=1) != epoch(shard, seed=2)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    assert epoch(shard, seed=1) == order.tolist()


def test_last_batch():
    shard = Shard(numbers(10), val_fraction=0.0, seed=0)
    assert [len(b["label"]) for b in shard.batches("train", 4, seed=0)] == [4, 4, 2]
    assert [len(b["label"]) for b in shard.batches("train", 4, seed=0, drop_last=True)] == [4, 4]
    assert [len(b["label"]) for b in shard.batches("train", 20, seed=None)] == [10]
    assert list(shard.batches("train", 20, seed=0, drop_last=True)) == []
    assert list(shard.batches("val", 4, seed=None)) == []


def test_empty_shard():
    with pytest.raises(DataError, match=r"party-3: 0 examples; an agent needs at least one"):
        Shard({"x": torch.zeros(0, 3)}, val_fraction=0.1, seed=0, name="party-3")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no columns"),
        ({"x": torch.zeros(3, 2), "label": torch.zeros(4)}, r"columns differ in length \{'x': 3, 'label': 4\}"),
        ({"x": torch.tensor(1.0)}, "column 'x' is one number"),
    ],
)
def test_shard_refuses_columns(columns, message):
    with pytest.raises(DataError, match=message):
        Shard(columns, val_fraction=0.0, seed=0)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_shard_refuses_val_fraction(fraction):
    with pytest.raises(ConfigError, match=r"Shard.val_fraction=.*must be in \[0, 1\)"):
        Shard(numbers(4), val_fraction=fraction, seed=0)


def test_batches_refuse_settings_at_the_call():
    shard = Shard(numbers(4), val_fraction=0.0, seed=0)
    with pytest.raises(ConfigError, match="batch_size=0: must be >= 1"):
        shard.batches("train", 0, seed=0)
    with pytest.raises(ConfigError, match="split='test': must be 'train' or 'val'"):
        shard.batches("test", 2, seed=0)


def test_a_part_is_the_same_in_every_process():
    """The digits, the split, the partition and the selection, pinned together."""
    part = Part(Digits(), Dirichlet(alpha=0.5, num_parts=5, seed=7), 2).read()
    held = part["image"].numpy().tobytes() + part["label"].numpy().astype("<i8").tobytes()
    assert hashlib.sha256(held).hexdigest()[:16] == "9abc9f7a323829a1"


def test_holdout_of_arrays_works():
    source = Arrays({"x": np.arange(20.0).reshape(10, 2)})
    assert len(Holdout(source, "test", 0.3).read()["x"]) == 3
