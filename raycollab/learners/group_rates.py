"""Other learning rates for some parts of a net, such as the encoder of one modality."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from raycollab.learners.local import LocalLearner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.params import FlatModel
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class GroupRates(LearnerWrapper):
    """Multiplies each step of another learner by a factor that depends on the parameter, whatever the optimizer.

    The first pattern that matches a name decides; of other names the factor is 1. A pattern that matches nothing of an
    agent's part of the model changes nothing there, so that all parties can have one learner.

    Args:
        learner: Takes the steps.
        factors: By shell patterns over names of parameters: `{"audio.*": 0.3}`; 0 leaves them as they are.
    Source: Wang et al., CVPR 2020, arXiv 1905.12681, section 1: modalities overfit and generalize at different rates.
    """

    learner: LocalLearner
    factors: Mapping[str, float] = field(hash=False)

    formula = "w += factor[name] (step of the learner)"

    def __post_init__(self) -> None:
        local = isinstance(self.learner, LocalLearner)
        require(local, "GroupRates.learner", self.learner, "must be a LocalLearner, such as SGD or Optimizer")
        require(bool(self.factors), "GroupRates.factors", {}, "give at least one, such as {'audio.*': 0.3}")
        for pattern, factor in self.factors.items():
            good = 0 <= factor < math.inf
            require(good, f"GroupRates.factors[{pattern!r}]", factor, "must be >= 0 and finite")

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take the learner's steps, each times the factors."""
        stepper = self.learner.begin(problem.model, state)
        places = self._places(problem.model)

        def step(model: FlatModel, factor: float) -> None:
            before = [parameter.detach().clone() for parameter, _ in places]
            stepper.step(model, factor)
            with torch.no_grad():
                for (parameter, times), start in zip(places, before, strict=True):
                    parameter.copy_(torch.lerp(start, parameter, times))

        update = self.learner.train(problem, params, round, step)
        return update, stepper.state()

    def _places(self, model: FlatModel) -> list[tuple[Tensor, float]]:
        """The parameters whose factor is not 1, which are views into the flat vectors, and their factors."""
        named = [(each, self._factor(name)) for name, each in model.module.named_parameters() if each.requires_grad]
        return [(parameter, factor) for parameter, factor in named if factor != 1.0]

    def _factor(self, name: str) -> float:
        return next((factor for pattern, factor in self.factors.items() if fnmatchcase(name, pattern)), 1.0)
