"""What several noisy answers about the same data tell of it together."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import inf

from raycollab.settings import Settings, require

History = Sequence[Sequence[float]]  # of (noise, sample_rate, steps), in the order in which they were answered


class Accountant(Settings, ABC):
    """Bounds epsilon of a sequence of sums with Gaussian noise, each over a Poisson sample of the data.

    Data differs by one example (or party) that is there or not, and moves a sum by a norm of 1 at most.
    """

    def epsilon(self, noise: float, sample_rate: float, steps: int, delta: float) -> float:
        """Epsilon of so many equal answers.

        Args:
            noise: Standard deviation of the noise on the sum; 0 is no privacy, epsilon is infinite.
            sample_rate: Probability of each example to be in a sample, in [0, 1].
            steps: Answers.
            delta: Probability with which the bound may fail, in (0, 1).
        Raises: ConfigError for values outside their range, or if opacus is not installed.
        """
        return self.composed([(noise, sample_rate, steps)], delta)

    def composed(self, history: History, delta: float) -> float:
        """Epsilon of answers of several kinds.

        Args:
            history: Their noise, sample rate and number.
            delta: As for `epsilon`.
        Raises: As `epsilon` does.
        """
        name = type(self).__name__
        require(0 < delta < 1, f"{name}: delta", delta, "must be in (0, 1)")
        for noise, sample_rate, steps in history:
            require(0 <= noise < inf, f"{name}: noise", noise, "must be >= 0 and finite")
            require(0 <= sample_rate <= 1, f"{name}: sample_rate", sample_rate, "must be in [0, 1]")
            require(steps >= 0, f"{name}: steps", steps, "must be >= 0")
        told = tuple((float(noise), float(rate), int(steps)) for noise, rate, steps in history if rate and steps)
        if any(noise == 0 for noise, _, _ in told):
            return inf
        return self.bound(told, delta) if told else 0.0

    @abstractmethod
    def bound(self, history: tuple[tuple[float, float, int], ...], delta: float) -> float:
        """Epsilon of answers that all have noise and tell something; at least one."""


def spent_more(history: History, noise: float, sample_rate: float, steps: int) -> list[list[float]]:
    """A history with further answers, in new lists; those that are like the last ones are counted with them."""
    told = [list(each) for each in history]
    if told and told[-1][:2] == [noise, sample_rate]:
        told[-1][2] += steps
    else:
        told.append([noise, sample_rate, steps])
    return told
