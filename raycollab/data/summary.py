"""What a party says about its shard: counts, never rows."""

from dataclasses import dataclass

import torch

from raycollab.config import require
from raycollab.data.columns import LABEL, Columns, grouping_column
from raycollab.errors import DataError


def label_coverage(columns: Columns, num_classes: int) -> dict[int, int]:
    """Return the number of examples of every label 0 to num_classes - 1; a label without examples counts 0.

    Raises:
        DataError: There is no column of whole labels [n], or a label is outside 0 to num_classes - 1.
    """
    require(num_classes >= 1, "num_classes", num_classes, "must be >= 1")
    labels = torch.from_numpy(grouping_column(columns, LABEL, "label_coverage"))
    if labels.is_floating_point():
        raise DataError(f"label_coverage: column {LABEL!r} is {labels.dtype}; only whole labels can be counted")
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"row {row}: label {int(labels[row])} is outside 0 to {num_classes - 1}; check the task's num_classes"
        )
    return dict(enumerate(torch.bincount(labels.to(torch.int64), minlength=num_classes).tolist()))


@dataclass(frozen=True)
class ShardSummary:
    """What an opened shard holds.

    Args:
        examples: Examples in all, with those for validation.
        val_examples: Of these, the ones kept for validation.
        labels_covered: Labels with at least one example; None where there are no whole labels.
        num_labels: Labels of the task; None where there are none.
        rejected_rows: Rows that the task did not accept.
    """

    examples: int
    val_examples: int = 0
    labels_covered: int | None = None
    num_labels: int | None = None
    rejected_rows: int = 0

    def line(self) -> str:
        """Return e.g. `1,204 examples (134 for validation), 7 of 10 labels, 0 rejected`."""
        parts = [f"{self.examples:,} examples ({self.val_examples:,} for validation)"]
        if self.labels_covered is not None and self.num_labels is not None:
            parts.append(f"{self.labels_covered} of {self.num_labels} labels")
        return ", ".join([*parts, f"{self.rejected_rows:,} rejected"])
