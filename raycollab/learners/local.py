"""The loop that gradient learners share: load, steps, difference."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from raycollab.errors import UpdateError
from raycollab.learners.base import Learner
from raycollab.params import FlatModel
from raycollab.schedules import Constant, Schedule
from raycollab.settings import require
from raycollab.spec import BUFFERS, DELTA
from raycollab.task import Problem
from raycollab.types import Batch, Round, State, Update

REPORTED = ("loss", "steps", "effective_steps", "counted")  # scalars of every local learner's update
Step = Callable[[FlatModel, float], None]  # changes the parameters in place, given their gradients and a factor on lr


@dataclass(frozen=True)
class Stepper:
    """An optimizer at work in one round.

    Args:
        step: Takes one step.
        state: What the agent remembers after the last one.
    """

    step: Step
    state: Callable[[], State]


@dataclass(frozen=True, kw_only=True)
class LocalLearner(Learner):
    """Learns by local steps; other learners wrap one and change its gradients.

    Args:
        epochs: Passes over the shard in a round.
        steps: Steps in a round instead of passes, if not None.
        batch_size: Examples of a step.
        micro_batch_size: Work a batch through in pieces of this many examples, if not None: the same gradient but for
            the order of its sum, in less memory.
        drop_last: Leave out a pass's last batch if it is smaller, unless it is the only one: BatchNorm cannot learn
            from a single example.
        max_grad_norm: Clip gradients to this L2 norm before each step, if not None.
        schedule: Factor on the learning rate.
        autocast: Compute forward and backward in bfloat16 where torch deems it safe; parameters stay as they are. A CPU
            without instructions for it (AVX512-BF16, AMX) takes several times as long as in float32.
    """

    epochs: int = 1
    steps: int | None = None
    batch_size: int = 32
    micro_batch_size: int | None = None
    drop_last: bool = False
    max_grad_norm: float | None = None
    schedule: Schedule = Constant()  # noqa: RUF009 - frozen
    autocast: bool = False

    sends: ClassVar[tuple[str, ...]] = REPORTED

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"{kind}.{name}", getattr(self, name), "must be >= 1")
        require(
            self.steps is None or self.steps >= 1, f"{kind}.steps", self.steps, "must be >= 1, or null for whole epochs"
        )
        micro = self.micro_batch_size
        require(
            micro is None or 1 <= micro <= self.batch_size,
            f"{kind}.micro_batch_size",
            micro,
            f"must be in 1..batch_size={self.batch_size}, or null for whole batches",
        )
        require(
            self.max_grad_norm is None or self.max_grad_norm > 0,
            f"{kind}.max_grad_norm",
            self.max_grad_norm,
            "must be > 0",
        )

    @abstractmethod
    def begin(self, model: FlatModel, state: State) -> Stepper:
        """Set the optimizer up for a round, with what the agent remembers; `state` stays as it is."""

    def effective_steps(self, factors: Sequence[float]) -> float:
        """How many plain SGD steps at the full rate the steps amount to, given the schedule's factor in each of them.

        It is the norm |a|_1 of FedNova; here each step counts by its factor.
        """
        return float(sum(factors))

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take this round's steps."""
        stepper = self.begin(problem.model, state)
        update = self.train(problem, params, round, stepper.step)
        return update, stepper.state()

    def gradient(self, problem: Problem, batch: Batch) -> Tensor:
        """Put the gradient of the batch's mean loss into `model.grads`; returns the loss []."""
        return problem.backward(batch, micro_batch_size=self.micro_batch_size, autocast=self.autocast)

    def train(self, problem: Problem, params: Tensor, round: Round, step: Step) -> Update:
        """Take local steps from params [d] and return the difference.

        Args:
            problem: The agent's problem.
            params: Where to start [d].
            round: Gives the buffers and the seeds of the batches.
            step: Takes one step.
        Returns: delta [d], buffers [b]; scalars loss (mean over what was seen), steps, effective_steps, and counted:
            what `Task.count` counted in the batches, be it examples or tokens, all passes together.
        Raises: UpdateError if the loss is not finite.
        """
        model = problem.model
        buffers = round.vectors.get(BUFFERS)
        model.load(params, buffers)
        start = model.read() if model.lossy else params
        model.module.train()
        total_loss = torch.zeros((), device=model.device)
        counted, factors = 0, list[float]()
        factor = self.factors(problem, round)
        for batch in self.batches(problem, round):
            loss = self.gradient(problem, batch)
            if self.max_grad_norm is not None:
                clip_gradients(model, self.max_grad_norm)
            factors.append(factor(len(factors)))
            step(model, factors[-1])
            count = problem.task.count(batch)
            total_loss.add_(loss, alpha=count)
            counted += count
        mean_loss = total_loss.item() / max(counted, 1)
        if not math.isfinite(mean_loss):
            raise not_finite(problem, mean_loss, round)
        vectors = {DELTA: model.moved(start)}
        if buffers is not None and buffers.numel():
            vectors[BUFFERS] = model.read_buffers().sub_(buffers)
        scalars = {"loss": mean_loss, **local_scalars(self, factors, counted)}
        weight = float(problem.shard.num_examples("train"))
        return Update(problem.agent, weight, vectors, scalars, round.base_version)

    def batches(self, problem: Problem, round: Round) -> Iterator[Batch]:
        """The batches of this round's steps."""
        return problem.batches(
            round, batch_size=self.batch_size, epochs=self.epochs, steps=self.steps, drop_last=self.drop_last
        )

    def factors(self, problem: Problem, round: Round) -> Callable[[int], float]:
        """The schedule's factor by the step of this round, from 0."""
        before, schedule = round.index - 1, self.schedule
        if schedule.over == "rounds":
            factor = schedule.factor(before)
            return lambda step: factor
        num_examples = problem.shard.num_examples("train")
        per_epoch = max(1, (num_examples if self.drop_last else num_examples + self.batch_size - 1) // self.batch_size)
        per_round = self.steps or per_epoch * self.epochs
        if schedule.over == "epochs":
            return lambda step: schedule.factor((before * per_round + step) // per_epoch)
        return lambda step: schedule.factor(before * per_round + step)


def local_scalars(learner: LocalLearner, factors: Sequence[float], counted: int) -> dict[str, float]:
    """What a local learner's update says of its steps, beside the loss.

    Args:
        learner: What took them.
        factors: The schedule's factor in each.
        counted: What `Task.count` counted in their batches.
    """
    steps, effective = float(len(factors)), learner.effective_steps(factors)
    return {"steps": steps, "effective_steps": effective, "counted": float(counted)}


def not_finite(problem: Problem, loss: float, round: Round) -> UpdateError:
    """The error of a loss that is no number."""
    return UpdateError(
        f"agent {problem.agent!r}: the loss is {loss} in round {round.index}; "
        f"lower lr or clip gradients (max_grad_norm)"
    )


def clip_gradients(model: FlatModel, max_norm: float) -> None:
    """Scale all gradients so that their common L2 norm is at most max_norm."""
    norm = torch.stack([grad.float().norm() for grad in model.grads]).norm()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for grad in model.grads:
        grad.mul_(scale)
