"""Counts of labels, and the line that a party shows."""

import pytest
import torch

from raycollab.data import ShardSummary, label_coverage
from raycollab.errors import ConfigError, DataError


def test_counts_by_hand():
    assert label_coverage({"label": torch.tensor([2, 0, 2, 2])}, 4) == {0: 1, 1: 0, 2: 3, 3: 0}


def test_counts_add_up_over_parts():
    labels = torch.arange(100) % 7
    parts = [label_coverage({"label": labels[rows]}, 7) for rows in (slice(0, 31), slice(31, 100))]
    assert label_coverage({"label": labels}, 7) == {key: parts[0][key] + parts[1][key] for key in range(7)}


def test_line():
    summary = ShardSummary(examples=1204, val_examples=134, labels_covered=7, num_labels=10)
    assert summary.line() == "1,204 examples (134 for validation), 7 of 10 labels, 0 rejected"
    assert ShardSummary(5, rejected_rows=1200).line() == "5 examples (0 for validation), 1,200 rejected"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": torch.zeros(2)}, "no column 'label'; there are: x"),
        ({"label": torch.tensor([0, 3])}, "row 1: label 3 is outside 0 to 2; check the task's num_classes"),
        ({"label": torch.tensor([-1, 0])}, "row 0: label -1 is outside"),
        ({"label": torch.tensor([0.5])}, "only whole labels can be counted"),
        ({"label": torch.zeros(2, 2, dtype=torch.int64)}, r"column 'label' has shape \(2, 2\)"),
    ],
)
def test_refuses(columns, message):
    with pytest.raises(DataError, match=message):
        label_coverage(columns, 3)


def test_refuses_num_classes():
    with pytest.raises(ConfigError, match="num_classes=0: must be >= 1"):
        label_coverage({"label": torch.tensor([0])}, 0)
