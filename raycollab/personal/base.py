"""What learners with a model of the agent's own share: where it is kept, and how steps start from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from raycollab.learners import LocalLearner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.own_model import OWN, own_model
from raycollab.params import FlatModel
from raycollab.settings import require
from raycollab.spec import BUFFERS, PARAMS
from raycollab.task import Problem
from raycollab.types import Round, State


@dataclass(frozen=True)
class PersonalLearner(LearnerWrapper):
    """Learns the common model and remembers one of the agent's own beside it, which never leaves.

    The own model is all of the module: also what is not exchanged, of which it has its own copy.

    Args:
        learner: Takes the steps.
    """

    learner: LocalLearner

    remembers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        local = isinstance(self.learner, LocalLearner)
        accepted = "must be a LocalLearner, such as SGD or Optimizer"
        require(local, f"{type(self).__name__}.learner", self.learner, accepted)

    def init(self, params: Tensor) -> State:
        """No own model yet."""
        return {OWN: None, "learner": self.learner.init(params)}

    def own_model(self, problem: Problem, vectors: Mapping[str, Tensor], state: State) -> dict[str, Tensor] | None:
        """What it remembers, beside the newest common model; None before its first round."""
        problem.model.load(vectors[PARAMS], vectors.get(BUFFERS))
        return own_model(state, problem.model.whole())


def starting_at(model: FlatModel, own: Mapping[str, Tensor], round: Round) -> tuple[Tensor, Round]:
    """Where steps from an agent's own model start [d], and the round with its buffers; its private part is loaded."""
    model.load_whole(own)
    params = model.read()
    return params, replace(round, vectors={**round.vectors, PARAMS: params, BUFFERS: model.read_buffers()})


def common_model(model: FlatModel, params: Tensor, round: Round) -> dict[str, Tensor]:
    """The round's model with the private part that is loaded, by name."""
    model.load(params, round.vectors.get(BUFFERS))
    return model.whole()
