"""How good a merge would be: what a driver hands to rules that try several."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from torch import Tensor


class Objective(Protocol):
    """The mean loss on validation data if the committed vectors were changed: a change is named as an update's vectors.

    What stands right of the rule in its chain is not applied to the change.
    """

    def loss(self, change: Mapping[str, Tensor]) -> float:
        """On all the data."""

    def losses(self, changes: Iterable[Mapping[str, Tensor]]) -> list[float]:
        """`loss` of each, which hosts may work out side by side."""

    def gradient(self, change: Mapping[str, Tensor], *, part: int, batch_size: int) -> Tensor:
        """By the "delta", [d], on the batch of this number; numbers go round."""
