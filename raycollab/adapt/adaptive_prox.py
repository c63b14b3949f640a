"""A pull to the common model that follows the loss."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from raycollab.adapt.tuned import pulled
from raycollab.learners import LocalLearner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class AdaptiveProx(LearnerWrapper):
    """FedProx whose strength mu rises when an agent's loss rises, and falls once it has fallen for some rounds.

    Each agent goes by its own training loss, and keeps its own mu.

    Args:
        learner: Takes the steps.
        mu: Strength in the beginning, >= 0.
        by: Added or taken away, > 0.
        patience: Rounds in a row with a smaller loss, after which it falls.
        most: Largest strength.
    Source: Li et al., MLSys 2020, arXiv 1812.06127, appendix C.3.3 (by 0.1, after 5 rounds); there by all losses.
    """

    learner: LocalLearner
    mu: float = 0.0
    by: float = 0.1
    patience: int = 5
    most: float = 10.0

    adds = ("mu",)
    remembers: ClassVar[bool] = True  # type: ignore[misc]
    formula = "grad += mu (w - w_round);  mu += by if the loss rose, -= by after `patience` falls"

    def __post_init__(self) -> None:
        local = isinstance(self.learner, LocalLearner)
        accepted = "must be a LocalLearner, such as SGD or Optimizer"
        require(local, "AdaptiveProx.learner", self.learner, accepted)
        require(0 <= self.mu < math.inf, "AdaptiveProx.mu", self.mu, "must be >= 0 and finite")
        require(0 < self.by < math.inf, "AdaptiveProx.by", self.by, "must be > 0 and finite")
        require(self.patience >= 1, "AdaptiveProx.patience", self.patience, "must be >= 1 round")
        require(self.mu <= self.most < math.inf, "AdaptiveProx.most", self.most, f"must be >= mu={self.mu:g}, finite")

    def init(self, params: Tensor) -> State:
        """The strength as it is given."""
        return {"learner": self.learner.init(params), "mu": self.mu, "loss": None, "falls": 0}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn under the present strength, then choose that of the next round."""
        update, learned = pulled(self.learner, state["mu"]).update(problem, params, state["learner"], round)
        loss, mu, falls = update.scalars["loss"], state["mu"], state["falls"]
        if state["loss"] is not None:
            falls = falls + 1 if loss < state["loss"] else 0
            if loss > state["loss"]:
                mu = min(mu + self.by, self.most)
            elif falls == self.patience:
                mu, falls = max(mu - self.by, 0.0), 0
        scalars = {**update.scalars, "mu": state["mu"]}
        return replace(update, scalars=scalars), {"learner": learned, "mu": mu, "loss": loss, "falls": falls}
