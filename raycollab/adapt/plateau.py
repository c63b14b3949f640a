"""A learning rate that falls where an agent makes no progress."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from raycollab.adapt.tuned import check_local, tuned
from raycollab.learners import Learner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class Plateau(LearnerWrapper):
    """Multiplies an agent's rate by a factor after some rounds without a smaller training loss.

    Args:
        learner: Takes the steps.
        factor: On the rate at each plateau, in (0, 1).
        patience: Rounds of the agent without progress.
        progress: Share by which the loss must be under the smallest so far to count, in [0, 1).
        least: Smallest factor in all, in (0, 1].
    Source: torch.optim.lr_scheduler.ReduceLROnPlateau, with rounds in the place of epochs and a rate for each agent.
    """

    factor: float = 0.5
    patience: int = 5
    progress: float = 0.01
    least: float = 0.01

    adds = ("rate",)
    remembers: ClassVar[bool] = True  # type: ignore[misc]
    formula = "lr_i *= factor after `patience` rounds with loss_i >= (1 - progress) * smallest loss_i"

    def __post_init__(self) -> None:
        require(isinstance(self.learner, Learner), "Plateau.learner", self.learner, "must be a Learner, such as SGD")
        check_local("Plateau", self.learner)
        require(0 < self.factor < 1, "Plateau.factor", self.factor, "must be in (0, 1)")
        require(self.patience >= 1, "Plateau.patience", self.patience, "must be >= 1 round")
        require(0 <= self.progress < 1, "Plateau.progress", self.progress, "must be in [0, 1)")
        require(0 < self.least <= 1, "Plateau.least", self.least, "must be in (0, 1]")

    def init(self, params: Tensor) -> State:
        """The full rate."""
        return {"learner": self.learner.init(params), "rate": 1.0, "best": None, "waited": 0}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn at the present rate, then choose that of the next round."""
        rate, best, waited = state["rate"], state["best"], state["waited"]
        update, learned = tuned(self.learner, rate=rate).update(problem, params, state["learner"], round)
        loss = update.scalars["loss"]
        if best is None or loss < (1 - self.progress) * best:
            after = {"rate": rate, "best": loss, "waited": 0}
        elif waited + 1 < self.patience:
            after = {"rate": rate, "best": best, "waited": waited + 1}
        else:
            after = {"rate": max(rate * self.factor, self.least), "best": best, "waited": 0}
        return replace(update, scalars={**update.scalars, "rate": rate}), {"learner": learned, **after}
