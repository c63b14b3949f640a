"""How many labels of each kind some data holds, and of what."""

from dataclasses import dataclass

from torch import Tensor

EXAMPLES = "examples"  # each has one label
POSITIVES = "positives"  # examples that have a label, of those that may have several
TOKENS, OBJECTS = "tokens", "objects"


@dataclass(frozen=True)
class Labels:
    """Counts only.

    Args:
        counts: How many there are of each, in the order of their numbers; empty for tasks without labels.
        unknown: How many are none of the task's.
        of: What has them: "examples", "positives", "tokens" or "objects".
        first: Number of the first label.
        strange: What the unknown ones are, in words.
    """

    counts: tuple[int, ...] = ()
    unknown: int = 0
    of: str = EXAMPLES
    first: int = 0
    strange: str = ""

    def count(self, label: int) -> int:
        """How many there are of one; 0 of a label that is none of the task's."""
        place = label - self.first
        return self.counts[place] if 0 <= place < len(self.counts) else 0


NO_LABELS = Labels()


def labels_of(values: Tensor, num_labels: int, of: str = EXAMPLES, *, first: int = 0) -> Labels:
    """Count labels that are numbers in a row.

    Args:
        values: The labels, without what stands for none [n]; of another form, all are unknown.
        num_labels: How many different ones the task has.
        of: What has them.
        first: Number of the first.
    """
    strange = f"outside {first}..{first + num_labels - 1}"
    if values.ndim != 1:
        return Labels((0,) * num_labels, len(values), of, first, strange)
    whole = values.long() - first
    known = (whole + first == values) & (whole >= 0) & (whole < num_labels)  # NaN is not
    counts = tuple(whole[known].bincount(minlength=num_labels).tolist())
    return Labels(counts, len(values) - sum(counts), of, first, strange)
