"""Examples of which only the strongest principal components are left."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from raycollab.data.base import Source, read_columns
from raycollab.data.distortions import Distortion
from raycollab.errors import DataError
from raycollab.settings import require


@dataclass(frozen=True)
class PrincipalComponents(Distortion):
    """Keeps the leading principal components that hold a share of the energy, and puts the mean back.

    Components are those of other examples than the ones that are changed: of the training set, also for the test set.

    Args:
        energy: Share of the variance that is kept at most, in (0, 1]; one component is always kept.
        fitted_on: Where the examples are whose components they are.
        column: Their column.
    Raises: DataError for examples of another size than those.
    Source: Vielzeuf et al., 2018, arXiv 1808.07275, section 4.1: AV-MNIST removes 75 % of the energy of the images.
    """

    energy: float
    fitted_on: Source
    column: str = "image"

    def __post_init__(self) -> None:
        require(0 < self.energy <= 1, "PrincipalComponents.energy", self.energy, "must be in (0, 1]: what is kept")

    def apply(self, values: Tensor, rows: np.ndarray, seed: int) -> Tensor:
        """Project each example onto the components."""
        del rows, seed
        mean, components = _fitted(self)
        flat = values.flatten(1)
        if flat.shape[1] != len(mean):
            raise DataError(
                f"PrincipalComponents: examples hold {flat.shape[1]} values, and those of "
                f"{self.fitted_on.describe()} {len(mean)}"
            )
        return (mean + (flat - mean) @ components @ components.T).view(values.shape)


@lru_cache(maxsize=4)
def _fitted(form: PrincipalComponents) -> tuple[Tensor, Tensor]:
    """Mean [d] and components [d, k], once a process."""
    columns = read_columns(form.fitted_on)
    if form.column not in columns:
        there = ", ".join(sorted(columns))
        raise DataError(f"{form.fitted_on.describe()}: no column {form.column!r}; there are: {there}")
    flat = columns[form.column].flatten(1).double()
    mean = flat.mean(0)
    variances, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))  # ascending
    share = variances.flip(0).clamp(min=0).cumsum(0) / variances.clamp(min=0).sum()
    count = max(1, int((share <= form.energy + 1e-12).sum()))
    return mean.float(), vectors.flip(1)[:, :count].float()
