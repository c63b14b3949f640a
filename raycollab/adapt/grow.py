"""A larger common model, asked for by those whose data has drifted."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from raycollab.adapt.action import Action, Scene
from raycollab.learners import Learner
from raycollab.task import Problem
from raycollab.types import ASKS, Round, State, Update


@dataclass(frozen=True)
class Grow(Action):
    """Lets the agent ask for the next form of the common model, until it is there.

    The model grows once enough agents of a round ask: `rc.Growth(forms, rc.growth.Asked(0.5))`. Others may not want it,
    so nothing happens before that, nor where the model does not grow.

    Source: Chen, Goodfellow and Shlens, ICLR 2016, arXiv 1511.05641 (Net2Net), of how a model grows.
    """

    rounds: int | None = field(default=5, kw_only=True)

    def begin(self, scene: Scene) -> State:
        """Remember which form was not enough."""
        return {"form": scene.round.form}

    def learn(
        self, learner: Learner, problem: Problem, params: Tensor, state: State, own: State, round: Round
    ) -> tuple[Update, State, State]:
        """Let the learner work, and ask."""
        update, state = learner.update(problem, params, state, round)
        if round.form == own["form"]:
            update = replace(update, scalars={**update.scalars, ASKS: 1.0})
        return update, state, own

    def detail(self, own: State) -> str:
        """What it asks for."""
        return f"asks for a larger model than form {own['form']}"
