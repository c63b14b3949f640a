"""Random elements."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.transforms.error_feedback import ErrorFeedback


@dataclass(frozen=True)
class RandomK(ErrorFeedback):
    """Passes on a random share of the elements, unscaled, with ErrorFeedback's memory of the rest.

    Args:
        share: Share of elements that pass, in (0, 1]; at least one does.
    Source: Stich et al., NeurIPS 2018, arXiv 1809.07599, Definition 2.2 (rand_k).
    """

    formula = "rand_k(delta + rest);  rest = what did not pass"

    def chosen(self, vector: Tensor, count: int, seed: int) -> Tensor:
        """Drawn on the CPU, so that they are the same wherever the agent computes."""
        order = torch.randperm(vector.numel(), generator=torch.Generator().manual_seed(seed))
        return order[:count].to(vector.device)
