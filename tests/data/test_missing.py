"""Columns that are missing in some rows: how many, the same ones each time, and what they hold."""

import numpy as np
import pytest
import torch

from raycollab.data import IID, Arrays, Missing, presence_of
from raycollab.errors import ConfigError, DataError

WHOLE = Arrays(
    {
        "image": torch.rand(2000, 1, 2, 2) + 1,
        "title": torch.randint(0, 9, (2000, 4)),
        "row": torch.arange(2000),
        "label": torch.arange(2000) % 2,
    },
    "whole",
)
HALF = Missing(WHOLE, {"title": 0.5, "image": 0.1}, seed=3)


def test_shares_are_missing_and_filled():
    columns = HALF.read()
    title, image = columns["has_title"], columns[presence_of("image")]
    assert title.float().mean().item() == pytest.approx(0.5, abs=0.034)  # 3 standard errors
    assert image.float().mean().item() == pytest.approx(0.9, abs=0.02)
    assert bool((columns["title"][~title] == -1).all())
    assert bool((columns["image"][~image] == 0).all())
    assert torch.equal(columns["title"][title], WHOLE.read()["title"][title])
    both = (title & image).float().mean().item()
    assert both == pytest.approx(0.45, abs=0.034)  # drawn apart


def test_the_same_rows_whoever_reads_them():
    whole = HALF.read()["has_title"]
    for part in HALF.split(IID(num_parts=3)):
        columns = part.read()
        assert torch.equal(columns["has_title"], whole[columns["row"]])
    assert torch.equal(HALF.open(np.array([7, 1])).columns["has_title"], whole[[7, 1]])
    assert not torch.equal(Missing(WHOLE, {"title": 0.5}, seed=4).read()["has_title"], whole)


@pytest.mark.parametrize(("share", "there"), [(0.0, 2000), (1.0, 0)])
def test_none_and_all(share, there):
    assert int(Missing(WHOLE, {"title": share}).read()["has_title"].sum()) == there


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"Missing.shares\['title'\]=1.5: must be in \[0, 1\]"):
        Missing(WHOLE, {"title": 1.5})
    with pytest.raises(DataError, match=r"whole .*: no column 'text' to be missing; there are: image, label, row"):
        Missing(WHOLE, {"text": 0.5}).read()
