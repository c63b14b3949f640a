"""The Page-Hinkley test."""

from dataclasses import dataclass

from torch import Tensor

from raycollab.adapt.detector import Detector, Verdict, excess
from raycollab.settings import require
from raycollab.types import State


@dataclass(frozen=True)
class PageHinkley(Detector):
    """Alarms when examples have been above the mean for long, or far above it for a while.

    Takes the newest examples one by one, each as its excess over the mean of the reference.

    Args:
        delta: Excess that is ordinary, in units of what is watched, >= 0.
        threshold: Sum of what is above that, at which it alarms, > 0.
    Shapes: [n, f], [m, f]; an example is its mean over f.
    Source: Page, Biometrika 1954; Gama et al., ACM Computing Surveys 2014, section 3.2.
    """

    delta: float = 0.1
    threshold: float = 50.0

    formula = "m_t = sum_s (x_s - mean_s - delta);  m_t - min_s m_s > threshold"

    def __post_init__(self) -> None:
        require(self.delta >= 0, "PageHinkley.delta", self.delta, "must be >= 0")
        require(self.threshold > 0, "PageHinkley.threshold", self.threshold, "must be > 0")

    def init(self) -> State:
        """Nothing seen."""
        return {"count": 0, "mean": 0.0, "sum": 0.0, "least": 0.0}

    def update(self, values: Tensor, reference: Tensor, state: State, *, seed: int) -> tuple[Verdict, State]:
        """Take the examples in."""
        del seed
        count, mean, total, least = (state[name] for name in ("count", "mean", "sum", "least"))
        highest = 0.0
        for value in excess(values, reference):
            count += 1
            mean += (value - mean) / count
            total += value - mean - self.delta
            least = min(least, total)
            highest = max(highest, total - least)
        return Verdict(highest, self.threshold), {"count": count, "mean": mean, "sum": total, "least": least}
