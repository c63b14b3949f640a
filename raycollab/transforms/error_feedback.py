"""What transforms share that pass on a few elements and remember the others."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.settings import require
from raycollab.transforms.base import Transform
from raycollab.types import State


@dataclass(frozen=True)
class ErrorFeedback(Transform):
    """Passes on a share of the elements; the rest is remembered and added to the next delta, so that nothing is lost.

    Left of the aggregator the memory is the agent's own.

    Args:
        share: Share of elements that pass, in (0, 1]; at least one does.
    Source: Stich et al., NeurIPS 2018, arXiv 1809.07599, Algorithm 1; Karimireddy et al., ICML 2019, arXiv 1901.09847,
        Algorithm 2, with whole rounds in the place of gradient steps.
    """

    share: float

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, f"{type(self).__name__}.share", self.share, "must be in (0, 1]")

    @abstractmethod
    def chosen(self, vector: Tensor, count: int, seed: int) -> Tensor:
        """Which elements of a vector [d] pass: their places [count]."""

    def init(self, params: Tensor) -> State:
        """Nothing is left over."""
        return {"rest": torch.zeros_like(params)}

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Add what was left over, and pass on the chosen elements."""
        del params
        rest = state["rest"] + delta
        places = self.chosen(rest, max(1, round(self.share * rest.numel())), seed)
        passed = torch.zeros_like(rest)
        passed[places] = rest[places]
        rest[places] = 0
        return passed, {"rest": rest}
