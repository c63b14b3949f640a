import numpy as np
import pytest
import torch

from raycollab.data import LabelMix
from raycollab.errors import ConfigError, DataError

COLUMNS = {"label": torch.arange(1000) % 10}


def held(partition):
    return [COLUMNS["label"][torch.from_numpy(rows)] for rows in partition.assign(COLUMNS)]


@pytest.mark.parametrize("alpha", [0.01, 1.0, 100.0])
def test_parts_are_equal_disjoint_and_sorted(alpha):
    parts = LabelMix(alpha, 30).assign(COLUMNS)
    assert {len(part) for part in parts} == {33}
    rows = np.concatenate(parts)
    assert len(set(rows)) == len(rows) == 990
    assert all((np.diff(part) > 0).all() for part in parts)


def test_the_skew_follows_alpha():
    """Labels that half of the parts hold: with 0.01 nearly one, with 1000 all ten; the last share what is left over."""
    few = [len(labels.unique()) for labels in held(LabelMix(0.01, 20))]
    many = [len(labels.unique()) for labels in held(LabelMix(1000.0, 20))]
    assert sorted(few)[10] <= 2
    assert sorted(many)[10] == 10


def test_follows_its_seed():
    one, same, other = (LabelMix(0.5, 4, seed=seed).assign(COLUMNS) for seed in (0, 0, 1))
    assert all(map(np.array_equal, one, same))
    assert not all(map(np.array_equal, one, other))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: LabelMix(0.0, 3), ConfigError, r"LabelMix.alpha=0.0: must be > 0"),
        (lambda: LabelMix(1.0, 0), ConfigError, r"LabelMix.num_parts=0: must be >= 1"),
        (lambda: LabelMix(1.0, 1001).assign(COLUMNS), DataError, r"needs 1001 examples or more, there are 1000"),
        (lambda: LabelMix(1.0, 2, by="digit").assign(COLUMNS), DataError, r"no column 'digit'"),
    ],
)
def test_refuses(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
