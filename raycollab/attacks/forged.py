"""A learner that learns honestly and sends something else."""

from abc import abstractmethod
from dataclasses import dataclass, replace

from torch import Tensor

from raycollab.attacks.base import LocalAttack
from raycollab.learners import Learner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.task import Problem, Task
from raycollab.types import Round, State, Update


class Forgery(LocalAttack):
    """A local attack on the vectors of an update: delta, buffers and whatever else the agent sends."""

    @abstractmethod
    def forge(self, vector: Tensor, *, seed: int) -> Tensor:
        """The vector that is sent instead [d]."""

    def learner(self, learner: Learner, task: Task) -> Learner:
        """The learner, with all its vectors replaced."""
        del task
        return Forged(learner, self)


@dataclass(frozen=True)
class Disguised(LearnerWrapper):
    """Stands in for another learner: it asks for the same, is checked as that is, and sends the same names."""

    def check(self, num_examples: int) -> None:
        """As the learner does, also one that counts what it tells: who misbehaves tells what it likes."""
        self.learner.check(num_examples)


@dataclass(frozen=True)
class Forged(Disguised):
    """Learns as another learner does, and forges what it sends; it remembers what it really learned."""

    forgery: Forgery

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn, then replace every vector."""
        update, after = self.learner.update(problem, params, state, round)
        seed = {name: round.seed_for("attack", problem.agent, name) for name in update.vectors}
        vectors = {name: self.forgery.forge(vector, seed=seed[name]) for name, vector in update.vectors.items()}
        return replace(update, vectors=vectors), after
