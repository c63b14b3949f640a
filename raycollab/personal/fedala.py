"""FedALA: how much of the common model an agent starts from is learned, element by element."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

import torch
from torch import Tensor, nn

from raycollab.errors import ModelError
from raycollab.own_model import OWN, SHARE, own_model
from raycollab.personal.base import PersonalLearner, common_model
from raycollab.personal.freezing import frozen
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class FedALA(PersonalLearner):
    """Starts each round from the common body, and a head that is mixed of its own last one and the common one.

    The elements of W are learned on the agent's training examples before the steps, W -= rate * gradient, and stay in
    [0, 1]. What is sent is how far the agent ends from the common model. Its own model is the start of the next round.

    Args:
        learner: Takes the steps.
        head: Patterns of the upper layers' parameters, which are mixed; all of them must be exchanged.
        rate: Of W.
        part: Share of a pass over the examples from which W is learned, in (0, 1].
        first_passes: Such passes when W is learned for the first time, from 1 everywhere; later it is one a round.
    Raises: ModelError for a pattern that matches nothing that is exchanged.
    Source: Zhang et al., AAAI 2023, arXiv 2212.01197, Algorithm 1 and equations 3 to 5. There W is learned until it
        converges the first time; here in `first_passes`. An evaluation takes W as the agent's last round left it.
    """

    head: tuple[str, ...] = ()
    rate: float = 1.0
    part: float = 0.8
    first_passes: int = 10

    formula = "start = own + W * (common - own) in the head;  W -= rate grad * (common - own), in [0, 1]"

    def __post_init__(self) -> None:
        super().__post_init__()
        patterns = (self.head,) if isinstance(self.head, str) else tuple(self.head)
        object.__setattr__(self, "head", patterns)
        require(bool(patterns), "FedALA.head", patterns, "must be patterns of names, such as ('head.*',)")
        require(self.rate > 0, "FedALA.rate", self.rate, "must be > 0")
        require(0 < self.part <= 1, "FedALA.part", self.part, "must be in (0, 1]")
        require(self.first_passes >= 1, "FedALA.first_passes", self.first_passes, "must be >= 1")

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn the start, then from it."""
        model, names = problem.model, self._names(problem)
        start = params
        shares: Mapping[str, Tensor | float] = dict.fromkeys(names, 0.0)
        if state[OWN] is not None:
            shares = self._shares(problem, params, state, round)
            mixed = own_model({OWN: state[OWN], SHARE: shares}, common_model(model, params, round)) or {}
            model.load_whole({name: mixed[name] for name in names})
            start = model.read()
        stepper = self.learner.begin(model, state["learner"])
        update = self.learner.train(problem, start, round, stepper.step)
        update = update.with_vectors(**{DELTA: update.vectors[DELTA] + (start - params)})
        return update, {OWN: model.whole(), SHARE: dict(shares), "learner": stepper.state()}

    def _names(self, problem: Problem) -> tuple[str, ...]:
        names = [entry.name for entry in problem.model.spec.params]
        for pattern in self.head:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ModelError(
                    f"agent {problem.agent!r}: FedALA.head: pattern {pattern!r} matches no parameter that is "
                    f"exchanged; there are: {', '.join(names)}"
                )
        return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in self.head))

    def _shares(self, problem: Problem, params: Tensor, state: State, round: Round) -> dict[str, Tensor]:
        """1 - W by name, after this round's steps of W."""
        model, own, before = problem.model, state[OWN], state[SHARE]
        common = common_model(model, params, round)
        first = any(isinstance(share, float) for share in before.values())  # as the agent's first round left them
        mixed = {
            name: _Mixed(
                parameter,
                own[name],
                common[name] - own[name],
                torch.ones_like(own[name]) if first else 1 - before[name],
            )
            for name, parameter in model.module.named_parameters()
            if name in before
        }
        with frozen(model, set(model.learned()) - set(mixed)):
            for _ in range(self.first_passes if first else 1):
                self._pass(problem, round, list(mixed.values()))
        return {name: 1 - each.weight for name, each in mixed.items()}

    def _pass(self, problem: Problem, round: Round, mixed: Sequence["_Mixed"]) -> None:
        """Steps of W, in place, over a part of the examples."""
        size = self.learner.batch_size
        count = max(1, math.ceil(self.part * problem.shard.num_examples("train") / size))
        for batch in islice(problem.batches(round, batch_size=size, epochs=1), count):
            for each in mixed:
                each.place()
            self.learner.gradient(problem, batch)
            for each in mixed:
                each.step(self.rate)


@dataclass(frozen=True)
class _Mixed:
    """A parameter of the head, between the agent's own and the common: own + weight * gap."""

    parameter: nn.Parameter
    own: Tensor
    gap: Tensor
    weight: Tensor

    def place(self) -> None:
        self.parameter.data.copy_(self.own + self.weight * self.gap)

    def step(self, rate: float) -> None:
        if self.parameter.grad is not None:
            self.weight.sub_(rate * self.parameter.grad * self.gap).clamp_(0.0, 1.0)
