"""How much may be told about the data."""

from dataclasses import dataclass
from math import inf

from raycollab.settings import Settings, require


@dataclass(frozen=True)
class PrivacyBudget(Settings):
    """How much may be told about one example, or one party: (epsilon, delta)-differential privacy.

    Args:
        epsilon: The most that is spent, > 0; infinite only counts.
        delta: Probability with which the bound may fail, in (0, 1). It must be less than 1 over the number of examples
            (or parties): telling all about one of them at random would pass otherwise.
    """

    epsilon: float = inf
    delta: float = 1e-5

    def __post_init__(self) -> None:
        require(self.epsilon > 0, "PrivacyBudget.epsilon", self.epsilon, "must be > 0; infinite only counts")
        require(0 < self.delta < 1, "PrivacyBudget.delta", self.delta, "must be in (0, 1), such as 1e-5")

    def check_size(self, count: int, of_what: str) -> None:
        """Raise ConfigError if delta allows to tell all about one of so many."""
        accepted = f"must be < 1/n of {count} {of_what}, {1 / max(count, 1):.2g}; such as {1 / max(count, 1) / 10:.1g}"
        require(self.delta * count < 1, "PrivacyBudget.delta", self.delta, accepted)
