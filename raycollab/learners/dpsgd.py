"""SGD whose updates tell little about any single example."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from raycollab.data import Shard
from raycollab.errors import BudgetError, DataError, ModelError, RoundStopped
from raycollab.learners.base import Learner
from raycollab.learners.per_example import PerExample, check_examples_stand_alone
from raycollab.learners.sgd import SGD
from raycollab.privacy import RDP, Accountant, History, Noise, PrivacyBudget, read_key, spent_more
from raycollab.schedules import Constant, Schedule
from raycollab.settings import Settings, require
from raycollab.spec import BUFFERS, DELTA
from raycollab.task import Problem
from raycollab.types import EPSILON, LAST, Round, State, Update

_HISTORY = "history"


@dataclass(frozen=True, kw_only=True)
class DPSGD(Learner, Settings):
    """Differentially private SGD: each example's gradient is clipped, and Gaussian noise is added to their sum.

    A step takes a Poisson sample of the agent's examples and divides by `batch_size`, however many there are. What
    leaves the agent is the delta and what does not depend on single examples: no loss, and no count but that of the
    shard, which is taken to be known. Validation scores are exact all the same: Agent.val_fraction=0 sends none.

    What was spent is the agent's memory, in its checkpoints: it survives a resume. A party whose budget does not
    suffice for another round says so, and is not selected any more. A driver that asks for a round again gets the same
    answer; one that lies about which round it is can get more than is counted.

    Args:
        noise: Standard deviation of the noise on the sum, over max_grad_norm.
        max_grad_norm: L2 norm to which each example's gradient is clipped.
        lr: Learning rate.
        momentum: Factor of the velocity, in [0, 1); it begins anew in each round.
        epochs: Passes in a round, of as many steps as there are batches in the shard.
        steps: Steps in a round instead of passes, if not None.
        batch_size: Examples of a step on average.
        micro_batch_size: Examples whose gradients are held at once, [micro_batch_size, d]; speed and memory alone.
        schedule: Factor on the learning rate.
        budget: What may be spent in all, and at which delta.
        accountant: Counts it: RDP(), or the tighter and slower PRV().
        noise_key: File with 32 random bytes or more on the party's node that nobody else can read. Without it noise
            and samples come from the run's seed: for simulations, as whoever knows the seed can take the noise off.
        vectorised: Work examples through together; False takes them one by one, which any net allows.
    Raises: ConfigError before round 1 for a budget below one round, a delta of 1/n or more, a batch larger than the
        shard, or a key that others can read; ModelError for a net with BatchNorm; BudgetError for a round too many.
    Source: Abadi et al., CCS 2016, arXiv 1607.00133, Algorithm 1.
    """

    noise: float
    max_grad_norm: float
    lr: float
    momentum: float = 0.0
    epochs: int = 1
    steps: int | None = None
    batch_size: int = 256
    micro_batch_size: int = 64
    schedule: Schedule = Constant()  # noqa: RUF009 - frozen
    budget: PrivacyBudget = PrivacyBudget()  # noqa: RUF009
    accountant: Accountant = RDP()  # noqa: RUF009
    noise_key: str = ""
    vectorised: bool = True

    sends: ClassVar[tuple[str, ...]] = ("steps", "effective_steps", "counted", EPSILON, LAST)
    remembers: ClassVar[bool] = True
    counted: ClassVar[bool] = True
    formula = "w -= lr (sum_j clip(grad_j, C) + noise C n) / batch_size,  n ~ N(0, 1)"

    def __post_init__(self) -> None:
        for name in ("noise", "max_grad_norm", "lr"):
            good = 0 < getattr(self, name) < math.inf
            require(good, f"DPSGD.{name}", getattr(self, name), "must be > 0 and finite")
        require(0 <= self.momentum < 1, "DPSGD.momentum", self.momentum, "must be in [0, 1)")
        for name in ("epochs", "batch_size", "micro_batch_size"):
            require(getattr(self, name) >= 1, f"DPSGD.{name}", getattr(self, name), "must be >= 1")
        good = self.steps is None or self.steps >= 1
        require(good, "DPSGD.steps", self.steps, "must be >= 1, or null for whole epochs")
        for name, kind in (("budget", PrivacyBudget), ("accountant", Accountant), ("schedule", Schedule)):
            value = getattr(self, name)
            require(isinstance(value, kind), f"DPSGD.{name}", value, f"must be a {kind.__name__}")

    def init(self, params: Tensor) -> State:
        """Nothing was spent."""
        del params
        return {_HISTORY: []}

    def check(self, num_examples: int) -> None:
        """Raise ConfigError if a shard of so few examples cannot be learned from privately, or not for one round."""
        accepted = f"must be <= the agent's {num_examples} training examples, of which a step takes a sample"
        require(self.batch_size <= num_examples, "DPSGD.batch_size", self.batch_size, accepted)
        self.budget.check_size(num_examples, "training examples")
        cost = self.accountant.composed(self._after([], num_examples), self.budget.delta)
        accepted = (
            f"one round of {self._num_steps(num_examples)} steps costs epsilon={cost:.4g}: raise it, add noise, or "
            f"take fewer steps or smaller batches"
        )
        require(cost <= self.budget.epsilon, "DPSGD.budget", self.budget, accepted)
        read_key(self.noise_key, "DPSGD.noise_key")

    def check_model(self, module: nn.Module) -> None:
        """Raise ModelError if the net mixes the examples of a batch."""
        check_examples_stand_alone(module, "DPSGD")

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take this round's steps, if the budget allows it."""
        shard, model = problem.shard, problem.model
        if not isinstance(shard, Shard):
            raise DataError(f"agent {problem.agent!r}: DPSGD takes any examples in each step: no data that is streamed")
        if model.lossy:
            raise ModelError(f"agent {problem.agent!r}: DPSGD needs float32 parameters: sums in less are not bounded")
        num_examples = shard.num_examples("train")
        history = self._after(state[_HISTORY], num_examples)
        epsilon, after = self._spent(history), self._spent(self._after(history, num_examples))
        if epsilon > self.budget.epsilon:
            raise BudgetError(
                f"agent {problem.agent!r}: round {round.index} would spend epsilon={epsilon:.4g} in all, and "
                f"{self.budget!r} allows less: it takes no part any more"
            )
        factors = self._train(problem, shard, params, round)
        scalars = {
            "steps": float(len(factors)),
            "effective_steps": self._plain(num_examples).effective_steps(factors),
            "counted": float(len(factors) * self.batch_size),
            EPSILON: epsilon,
            LAST: float(after > self.budget.epsilon),
        }
        update = Update(problem.agent, float(num_examples), {DELTA: model.moved(params)}, scalars, round.base_version)
        return update, {_HISTORY: history}

    def _train(self, problem: Problem, shard: Shard, params: Tensor, round: Round) -> list[float]:
        """Take the steps; returns the schedule's factor in each."""
        model, columns, size = problem.model, shard.columns("train"), shard.num_examples("train")
        model.load(params, round.vectors.get(BUFFERS))
        model.module.train()
        noise = Noise(read_key(self.noise_key, "DPSGD.noise_key"))
        examples = PerExample(problem, self.max_grad_norm, vectorised=self.vectorised)
        plain = self._plain(size)
        step, factor = plain.begin(model, {}).step, plain.factors(problem, round)
        factors: list[float] = []
        for index in range(self._num_steps(size)):
            if problem.stop():
                raise RoundStopped(f"agent {problem.agent!r}: told to stop in round {round.index} after {index} steps")
            address = (round.seed, round.index, problem.agent, index)
            rows = noise.sample(size, self.batch_size / size, "sample", repr(self._deviation), *address, *model.flats)
            model.zero_grad()
            for part in rows.split(self.micro_batch_size) if len(rows) else ():
                part = part.to(model.device)
                examples.add({name: column.index_select(0, part) for name, column in columns.items()})
            self._add_noise(model.grads, noise, *address, *model.flats)
            factors.append(factor(index))
            step(model, factors[-1])
        return factors

    def _add_noise(self, grads: list[Tensor], noise: Noise, *address: Any) -> None:
        """Turn sums of clipped gradients into the noisy mean, in place; added in float64, so that rounding hides it."""
        for place, total in enumerate(grads):
            drawn = noise.normal(total.numel(), self._deviation, "noise", place, *address, total)
            total.copy_(total.double().add_(drawn.to(total.device)).div_(self.batch_size))

    @property
    def _deviation(self) -> float:
        """Standard deviation of the noise on a sum."""
        return self.noise * self.max_grad_norm

    def _plain(self, num_examples: int) -> SGD:
        """The same steps without clipping and noise."""
        steps, size = self._num_steps(num_examples), self.batch_size
        return SGD(lr=self.lr, momentum=self.momentum, steps=steps, batch_size=size, schedule=self.schedule)

    def _num_steps(self, num_examples: int) -> int:
        """Steps of a round."""
        return self.steps or math.ceil(self.epochs * num_examples / self.batch_size)

    def _after(self, history: History, num_examples: int) -> list[list[float]]:
        """What was told after another round."""
        return spent_more(history, self.noise, self.batch_size / num_examples, self._num_steps(num_examples))

    def _spent(self, history: History) -> float:
        """Epsilon of a history; without a limit at infinity it is counted all the same, for the report."""
        return self.accountant.composed(history, self.budget.delta)
