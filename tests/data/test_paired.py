"""Pairs of rows with one label: the same each time, each partner as often, and what is skipped or refused."""

import numpy as np
import pytest
import torch

from raycollab.data import IID, Arrays, Distorted, Noise, Opened, Paired, Source
from raycollab.errors import DataError

LABELS = torch.arange(24) % 3
LEFT = Arrays({"image": torch.arange(24.0).unsqueeze(1), "label": LABELS}, "left")
RIGHT = Arrays({"sound": torch.arange(9.0), "label": torch.arange(9) % 3}, "right")
PAIRED = Paired(LEFT, RIGHT, seed=1)


def test_both_halves_have_the_label():
    columns = PAIRED.read()
    assert torch.equal(columns["label"], LABELS)
    assert torch.equal(columns["image"], LEFT.read()["image"])
    assert torch.equal(columns["sound"].long() % 3, LABELS)


def test_partners_are_used_as_often_as_each_other():
    """Eight rows of a label share three partners: 3, 3 and 2 times each."""
    counts = PAIRED.read()["sound"].long().bincount(minlength=9)
    assert sorted(counts.tolist()) == [2, 2, 2, 3, 3, 3, 3, 3, 3]


def test_the_seed_decides_who_is_paired_with_whom():
    assert torch.equal(PAIRED.read()["sound"], Paired(LEFT, RIGHT, seed=1).read()["sound"])
    assert not torch.equal(PAIRED.read()["sound"], Paired(LEFT, RIGHT, seed=2).read()["sound"])


def test_parts_are_cut_out_of_the_whole():
    """A pair is the same whoever reads it, and whatever else is read."""
    whole = PAIRED.read()
    parts = [part.read() for part in PAIRED.split(IID(num_parts=3))]
    for part in parts:
        rows = part["image"][:, 0].long()
        assert torch.equal(part["sound"], whole["sound"][rows])
    assert sum(len(part["label"]) for part in parts) == 24


def test_each_half_is_distorted_as_in_its_source():
    noisy = Distorted(RIGHT, (Noise(0.1),), "sound")
    found = Paired(LEFT, noisy, seed=1).open(np.array([20, 3])).columns["sound"]
    rows = PAIRED.read()["sound"][[20, 3]].long()
    assert torch.equal(found, noisy.read()["sound"][rows])


class Torn(Source):
    """A source of which one row cannot be read."""

    def __init__(self, source, bad):
        self.source, self.bad = source, bad

    def read(self):
        return self.open().columns

    def open(self, rows=None):
        asked = np.arange(len(self.source.read()["label"])) if rows is None else rows
        kept = np.flatnonzero(asked != self.bad)
        columns = {name: column[asked[kept]] for name, column in self.source.read().items()}
        return Opened(columns, ("torn",), kept)

    def keys(self, names):
        return self.source.keys(names)

    def describe(self):
        return "torn"


HALVES = [(Torn(LEFT, 4), RIGHT), (LEFT, Torn(RIGHT, 4)), (Torn(LEFT, 4), Torn(RIGHT, 4))]


@pytest.mark.parametrize(("left", "right"), HALVES)
def test_a_pair_of_which_one_half_cannot_be_read_is_skipped(left, right):
    whole = PAIRED.read()
    opened = Paired(left, right, seed=1).open(np.arange(2, 20))
    rows = opened.columns["image"][:, 0].long()
    assert torch.equal(opened.columns["sound"], whole["sound"][rows])
    assert rows.tolist() == (np.arange(2, 20)[opened.kept]).tolist()
    assert "torn" in opened.skipped
    assert not bool((opened.columns["sound"] == 4).any()) or not isinstance(right, Torn)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(DataError, match=r"left .* paired with .*: the other source has no row of label 2, and the fir"):
        Paired(LEFT, Arrays({"sound": torch.zeros(4), "label": torch.arange(4) % 2}, "right")).read()
    with pytest.raises(DataError, match="both have column 'image'; leave it out of one with columns="):
        Paired(LEFT, LEFT).read()
