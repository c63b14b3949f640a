"""CAVIA: what a task is like is learned as an input, and the net stays as it is."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.meta.episodes import Episode
from raycollab.meta.functional import Functional, Parameters
from raycollab.meta.maml import MAML
from raycollab.models import CONTEXT


@dataclass(frozen=True, kw_only=True)
class CAVIA(MAML):
    """MAML whose inner steps change the context parameters alone, from zero, and whose outer steps change all but them.

    The net is one of `rc.models.WithContext`, which gives it the context beside its inputs.

    Raises: ModelError if the net has no context.
    Source: Zintgraf et al., ICML 2019, arXiv 1810.03642, equations 4 and 6.
    """

    formula = "gradient by w of L_query(w, c), c = 0 - lr * gradient by c of L_support(w, 0)"

    @property
    def inner(self) -> tuple[str, ...]:
        """The context."""
        return (CONTEXT, f"*.{CONTEXT}")

    def outer_gradient(self, model: Functional, params: Parameters, episode: Episode) -> tuple[Tensor, Parameters]:
        """MAML's, with none for the context: it begins at zero in every episode."""
        loss, gradient = super().outer_gradient(model, params, episode)
        context = {name for name in gradient if name == CONTEXT or name.endswith(f".{CONTEXT}")}
        return loss, {
            name: torch.zeros_like(tensor) if name in context else tensor for name, tensor in gradient.items()
        }
