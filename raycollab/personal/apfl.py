"""APFL: a mixture of an own model and the common one, with a learned share."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from raycollab.learners import LocalLearner
from raycollab.learners.local import clip_gradients
from raycollab.own_model import OWN, SHARE
from raycollab.params import FlatModel
from raycollab.personal.base import PersonalLearner, common_model
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Batch, Round, State, Update

_ALPHA = "alpha"
_MIXED = "mixed"  # where the optimizer of the own model keeps what it remembers


@dataclass(frozen=True)
class APFL(PersonalLearner):
    """Steps of the common model w, of an own model v by the loss of alpha v + (1 - alpha) w, and of alpha itself.

    The agent's own model is that mixture, with the newest w. Takes two forward and backward passes a step.

    Args:
        learner: Takes the steps of both models.
        alpha: Share of v in the beginning, in [0, 1].
        alpha_lr: Rate of alpha, >= 0; 0 keeps it as it is.
    Source: Deng, Kamani and Mahdavi, 2020, arXiv 2003.13461, Algorithm 1 and equation 5 (alpha). Alpha moves in every
        step and stays in [0, 1]. Float buffers, such as BatchNorm's statistics, are those of the mixture.
    """

    alpha: float = 0.5
    alpha_lr: float = 0.01

    formula = "v -= lr alpha grad_i(m), m = alpha v + (1 - alpha) w;  alpha -= alpha_lr <v - w, grad_i(m)>"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.alpha <= 1, "APFL.alpha", self.alpha, "must be in [0, 1]")
        require(self.alpha_lr >= 0, "APFL.alpha_lr", self.alpha_lr, "must be >= 0")

    def init(self, params: Tensor) -> State:
        """No own model yet."""
        return {**super().init(params), _ALPHA: self.alpha, _MIXED: self.learner.init(params)}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take the steps of both models and of alpha, batch by batch; send how far w has moved."""
        model = problem.model
        mixture = _Mixture(self, model, state, state[OWN] or common_model(model, params, round), problem, round)
        stepper = self.learner.begin(model, state["learner"])
        given = {field.name: getattr(problem, field.name) for field in fields(problem)}
        update = self.learner.train(_Both(**given, first=mixture.learn), params, round, stepper.step)
        return update, {**mixture.state(), "learner": stepper.state()}


@dataclass(frozen=True)
class _Both(Problem):
    """A problem whose every gradient is taken after something else was done with the batch."""

    first: Callable[[Problem, Batch], None]

    def backward(self, batch: Batch, *, micro_batch_size: int | None = None, autocast: bool = False) -> Tensor:
        given = {field.name: getattr(self, field.name) for field in fields(Problem)}
        self.first(Problem(**given), batch)
        return super().backward(batch, micro_batch_size=micro_batch_size, autocast=autocast)


class _Mixture:
    """An own model and its share at work in a round, in the memory of a model that holds w between its steps."""

    def __init__(
        self, rule: APFL, model: FlatModel, state: State, own: dict[str, Tensor], problem: Problem, round: Round
    ):
        self._learner: LocalLearner = rule.learner
        self._model, self._alpha, self._rate = model, float(state[_ALPHA]), rule.alpha_lr
        self._stepper = self._learner.begin(model, state[_MIXED])
        self._factor, self._steps = self._learner.factors(problem, round), 0
        before = model.whole()
        model.load_whole(own)
        self._own = [flat.clone() for flat in model.flats]
        self._buffers = {name: tensor.clone() for name, tensor in model.saved_buffers().items()}
        model.load_whole(before)

    def learn(self, problem: Problem, batch: Batch) -> None:
        """A step of v and one of alpha at the mixture; the model's parameters and buffers come back as they were."""
        model = self._model
        common = [flat.clone() for flat in model.flats]
        buffers = {name: tensor.clone() for name, tensor in model.saved_buffers().items()}
        model.load_whole(self._buffers)
        for flat, own in zip(model.flats, self._own, strict=True):
            flat.lerp_(own, self._alpha)
        self._learner.gradient(problem, batch)
        self._buffers = {name: tensor.clone() for name, tensor in model.saved_buffers().items()}
        pairs = zip(self._own, common, model.grads, strict=True)
        slope = sum(float(((own - flat) * grad).sum(dtype=torch.float64)) for own, flat, grad in pairs)
        self._step_of_own()
        for flat, before in zip(model.flats, common, strict=True):
            flat.copy_(before)
        model.load_whole(buffers)
        self._alpha = min(max(self._alpha - self._rate * slope, 0.0), 1.0)

    def _step_of_own(self) -> None:
        model = self._model
        for flat, own, grad in zip(model.flats, self._own, model.grads, strict=True):
            flat.copy_(own)
            grad.mul_(self._alpha)
        if self._learner.max_grad_norm is not None:
            clip_gradients(model, self._learner.max_grad_norm)
        self._stepper.step(model, self._factor(self._steps))
        self._steps += 1
        for flat, own in zip(model.flats, self._own, strict=True):
            own.copy_(flat)

    def state(self) -> State:
        """What the agent remembers; the model's memory holds w again afterwards."""
        model, common = self._model, self._model.whole()
        for flat, own in zip(model.flats, self._own, strict=True):
            flat.copy_(own)
        whole = {**model.whole(), **self._buffers}
        model.load_whole(common)
        shares = {name: 1.0 if name in self._buffers else self._alpha for name in whole}
        return {OWN: whole, SHARE: shares, _ALPHA: self._alpha, _MIXED: self._stepper.state()}
