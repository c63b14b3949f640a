"""Reptile: go some way towards where the inner steps ended."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.meta.descent import OneRate
from raycollab.meta.episodes import Episode
from raycollab.meta.functional import Functional, Parameters


@dataclass(frozen=True, kw_only=True)
class Reptile(OneRate):
    """The difference that the inner steps on the support make; the query is reported, and not learned from.

    Source: Nichol et al., 2018, arXiv 1803.02999, Algorithm 2 with plain gradient descent inside, and the whole support
        in each inner step.
    """

    formula = "w - (w after the inner steps), which the outer rate multiplies"

    def outer_gradient(self, model: Functional, params: Parameters, episode: Episode) -> tuple[Tensor, Parameters]:
        """The start less where the inner steps ended."""
        support, query = episode
        adapted = self.adapt(model, params, support)
        with torch.no_grad():
            loss = model.loss(adapted, query)
        return loss, {name: tensor - adapted[name] for name, tensor in params.items()}
