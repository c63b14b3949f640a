"""DARE: drop elements at random, and rescale the rest."""

from dataclasses import dataclass

import torch

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.mean import Mean
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.wrapper import Wrapper
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import Round, Update


@dataclass(frozen=True)
class Dare(Wrapper):
    """Sets random elements of each agent's delta to zero and scales up the others, then merges by another rule.

    Each element keeps its expectation. Elements are drawn where the agent runs, anew for each agent and round; vectors
    beside the delta pass as they are.

    Args:
        drop: Probability that an element is dropped, in [0, 1).
        rule: Merges what is left.
    Shapes: those of the rule; memory of the rule.
    Source: Yu et al., ICML 2024, arXiv 2311.03099, section 3, with a delta of the round for the task vector.
    """

    drop: float
    rule: Aggregator = Mean()  # noqa: RUF009 - frozen

    formula = "rule(m_i * delta_i / (1 - drop)),  m_ij = 0 with probability drop, else 1"

    def __post_init__(self) -> None:
        require(0 <= self.drop < 1, "Dare.drop", self.drop, "must be in [0, 1)")
        require(isinstance(self.rule, Aggregator), "Dare.rule", self.rule, "must be an Aggregator, such as Mean()")

    @property
    def laws(self) -> frozenset[str]:
        """The rule's, which hold only in expectation where elements are dropped."""
        return frozenset() if self.drop else self.rule.laws

    def collect(self, update: Update, round: Round) -> Partial:
        """Drop and rescale; drawn on the CPU, so that it is the same wherever the agent computes."""
        delta = update.vectors[DELTA]
        generator = torch.Generator().manual_seed(round.seed_for("dare", update.agent))
        kept = (torch.rand(delta.shape, generator=generator) >= self.drop).to(delta.device)
        return self.rule.collect(update.with_vectors(**{DELTA: delta * kept / (1 - self.drop)}), round)
