"""Label skew with parts of equal size."""

from dataclasses import dataclass

import numpy as np

from raycollab.data.columns import LABEL, Columns, count_rows, grouping_column
from raycollab.data.partition import Partition
from raycollab.errors import DataError
from raycollab.rng import numpy_generator
from raycollab.settings import require


@dataclass(frozen=True)
class LabelMix(Partition):
    """Parts of equal size, each with a mix of labels of its own, drawn from a Dirichlet distribution.

    Rows are drawn without replacement. Once a label is used up, the parts after that share what is left, so the last
    parts' mixes are further from their draw. At most num_parts - 1 rows go to nobody.

    Args:
        alpha: Concentration, > 0: labels are drawn with Dirichlet(alpha * share of the label in all rows). 100 is close
            to IID, 0.01 leaves most parts with one label.
        num_parts: Parties.
        by: Column that holds the labels.
        seed: Seed of the draw.
    Source: Hsu et al., 2019, arXiv 1909.06335, section 2.
    """

    alpha: float
    num_parts: int
    by: str = LABEL
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            0 < self.alpha < np.inf, "LabelMix.alpha", self.alpha, "must be > 0; 0.01 is a strong skew, 100 almost none"
        )
        require(self.num_parts >= 1, "LabelMix.num_parts", self.num_parts, "must be >= 1")

    @property
    def keys(self) -> tuple[str, ...]:
        """The one that it goes by."""
        return (self.by,)

    def assign(self, columns: Columns) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        n = count_rows(columns, repr(self))
        size = n // self.num_parts
        if not size:
            raise DataError(f"{self!r}: needs {self.num_parts} examples or more, there are {n}; use fewer parts")
        generator = numpy_generator(self.seed, "partition", "LabelMix")
        _, groups, counts = np.unique(
            grouping_column(columns, self.by, repr(self)), return_inverse=True, return_counts=True
        )
        rows = [generator.permutation(np.flatnonzero(groups == label)) for label in range(len(counts))]
        used = np.zeros(len(counts), dtype=int)
        parts = []
        for _ in range(self.num_parts):
            mix = generator.dirichlet(np.maximum(self.alpha * counts / n, 1e-12))
            taken = _take(generator, mix, counts - used, size)
            parts.append(np.sort(np.concatenate([r[u : u + t] for r, u, t in zip(rows, used, taken, strict=True)])))
            used += taken
        return parts


def _take(generator: np.random.Generator, mix: np.ndarray, left: np.ndarray, size: int) -> np.ndarray:
    """How many rows of each label make a part: by the mix as long as there are any, then by what is left."""
    taken = np.zeros(len(left), dtype=int)
    while (missing := size - taken.sum()) > 0:
        there = left - taken
        weights = np.where(there > 0, mix, 0.0)
        weights = weights if weights.sum() > 1e-9 else there.astype(float)
        taken += np.minimum(generator.multinomial(missing, weights / weights.sum()), there)
    return taken
