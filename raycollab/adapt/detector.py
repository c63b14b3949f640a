"""What tells that data has changed: a small value with explicit state."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raycollab.settings import Settings
from raycollab.types import State


@dataclass(frozen=True)
class Verdict:
    """How far newest examples are from what was, and how far they may be.

    Args:
        statistic: What was measured.
        threshold: Above it the data has drifted; > 0.
    """

    statistic: float
    threshold: float

    @property
    def ratio(self) -> float:
        """The statistic in thresholds: above 1 is an alarm."""
        return self.statistic / self.threshold

    @property
    def drifted(self) -> bool:
        """Whether this is an alarm."""
        return self.statistic > self.threshold


class Detector(Settings, ABC):
    """Compares the newest examples with a reference, under the same model: what the model has learned is no drift.

    Attributes:
        formula: What it computes, in one line of plain text.
    """

    formula: ClassVar[str] = ""

    def init(self) -> State:
        """State before the first round, and after an alarm."""
        return {}

    @abstractmethod
    def update(self, values: Tensor, reference: Tensor, state: State, *, seed: int) -> tuple[Verdict, State]:
        """Judge the newest examples of a round.

        Args:
            values: What is watched of them, float [n, f].
            reference: The same of examples from before, under the same model, float [m, f].
            state: What it remembers; stays as it is.
            seed: Of whatever is drawn.
        """


def excess(values: Tensor, reference: Tensor) -> list[float]:
    """By how much each example is above the mean of the reference, over all that is watched: n numbers."""
    return (values.double().mean(1) - reference.double().mean()).tolist()
