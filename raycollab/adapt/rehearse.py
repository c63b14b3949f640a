"""Examples from before the drift, learned again."""

from dataclasses import dataclass, replace

from torch import Tensor

from raycollab.adapt.action import Action, Scene
from raycollab.adapt.rehearsal import Rehearsing
from raycollab.learners import Learner
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class Rehearse(Action):
    """Puts the reference from before the drift among the newest examples, so that what was known is not forgotten.

    It is for inputs that have changed while labels still mean the same.

    Args:
        share: Of each batch that is old, in (0, 1).
    Source: Robins, Connection Science 1995 (rehearsal).
    """

    share: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.share < 1, "Rehearse.share", self.share, "must be in (0, 1)")

    def begin(self, scene: Scene) -> State:
        """Keep the examples; they never leave the agent."""
        return {"rows": dict(scene.reference)}

    def learn(
        self, learner: Learner, problem: Problem, params: Tensor, state: State, own: State, round: Round
    ) -> tuple[Update, State, State]:
        """Let the learner work on mixed batches."""
        mixed = replace(problem, shard=Rehearsing(problem.shard, own["rows"], self.share))
        update, state = learner.update(mixed, params, state, round)
        return update, state, own

    def detail(self, own: State) -> str:
        """How many."""
        count = len(next(iter(own["rows"].values())))
        return f"{count} examples from before in {self.share:.0%} of each batch"
