"""The largest elements."""

from dataclasses import dataclass

from torch import Tensor

from raycollab.transforms.error_feedback import ErrorFeedback


@dataclass(frozen=True)
class TopK(ErrorFeedback):
    """Passes on the share of elements that are largest in size, with ErrorFeedback's memory of the rest.

    Args:
        share: Share of elements that pass, in (0, 1]; at least one does.
    Source: Stich et al., NeurIPS 2018, arXiv 1809.07599, Definition 2.2 (top_k).
    """

    formula = "top_k(delta + rest);  rest = what did not pass"

    def chosen(self, vector: Tensor, count: int, seed: int) -> Tensor:
        """The largest in size."""
        del seed
        return vector.abs().topk(count, sorted=False).indices
