"""SCAFFOLD: control variates that take the agents' drift out of their gradients."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from raycollab.learners.base import Learner
from raycollab.learners.sgd import SGD
from raycollab.params import FlatModel
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update

CONTROL = "control"


@dataclass(frozen=True)
class Scaffold(Learner):
    """Corrects each gradient by c - c_i: what all agents do on average, less what this one does.

    The driver keeps c and adds to it the mean of what agents send, so merge with `Mean(weights="uniform")` as the paper
    does. Each agent remembers its own c_i.

    Args:
        learner: Takes the steps: SGD, with or without momentum.
        option: 1 takes the gradient at the round's parameters over the whole shard as the agent's new control, one more
            pass over the data; 2 the mean of the steps' gradients.
    Source: Karimireddy et al., ICML 2020, arXiv 1910.06378, Algorithm 1. |S| counts the agents that were asked, so a
        failed one makes c move a little less far. Its option 2 reads the mean gradient along the path off the delta,
        c_i - c - delta / (K lr); here it is added up step by step: the same number at a constant rate, and one also
        where a schedule makes the rate small or 0. Gradients count as clipped, without weight decay and without
        momentum, which the paper does not have: here it is that of the corrected gradients. NIID-Bench and NVFlare
        correct the parameters after each step of momentum instead, by a control that is the mean of those steps.
    """

    learner: SGD
    option: int = 2

    formula = "grad += c - c_i;  then c_i = grad at w_round (1), or mean of the K steps' grad (2)"
    needs: ClassVar[tuple[str, ...]] = (CONTROL,)

    def __post_init__(self) -> None:
        require(isinstance(self.learner, SGD), "Scaffold.learner", self.learner, "must be SGD: a control is a gradient")
        require(self.option in (1, 2), "Scaffold.option", self.option, "must be 1 or 2")

    @property
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner sends, and the change of the control."""
        return (*self.learner.sends, CONTROL)

    def init(self, params: Tensor) -> State:
        """A control of zero."""
        return {CONTROL: torch.zeros_like(params), "learner": self.learner.init(params)}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take corrected steps; send the delta and the change of the agent's control."""
        own, common = state[CONTROL], round.vectors[CONTROL]
        after = self._gradient(problem, params, round) if self.option == 1 else None
        stepper = self.learner.begin(problem.model, state["learner"])
        correction, total = problem.model.split(common - own), torch.zeros_like(params)
        totals = problem.model.split(total)

        def step(model: FlatModel, factor: float) -> None:
            for grad, part, sum in zip(model.shared_grads, correction, totals, strict=True):
                if self.option == 2:
                    sum.add_(grad)
                grad.add_(part)
            stepper.step(model, factor)

        update = self.learner.train(problem, params, round, step)
        if after is None:
            after = total / update.scalars["steps"]
        change = (after - own) * round.scalars["participation"]
        return update.with_vectors(**{CONTROL: change}), {CONTROL: after, "learner": stepper.state()}

    def _gradient(self, problem: Problem, params: Tensor, round: Round) -> Tensor:
        """Mean gradient over the shard at params [d]; what is private stays as it was, also BatchNorm's statistics."""
        model = problem.model
        private = model.private()
        model.load(params, round.vectors.get("buffers"))
        total, count = torch.zeros_like(params), 0
        totals = model.split(total)
        for batch in problem.batches(round, batch_size=self.learner.batch_size, epochs=1):
            self.learner.gradient(problem, batch)
            weight = problem.task.count(batch)
            for sum, grad in zip(totals, model.shared_grads, strict=True):
                sum.add_(grad, alpha=weight)
            count += weight
        model.load_private(private)
        return total.div_(max(count, 1))
