"""The loop that meta-learners share: draw episodes, adapt, move the common start."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from raycollab.errors import DataError, ModelError, RoundStopped, UpdateError
from raycollab.learners import REPORTED, SGD, Learner, LocalLearner
from raycollab.learners.local import clip_gradients
from raycollab.meta.episodes import Episode, Episodes, PartyTask, at
from raycollab.meta.functional import Functional, Parameters, evaluating, put
from raycollab.params import FlatModel
from raycollab.settings import require
from raycollab.spec import BUFFERS, DELTA
from raycollab.task import Problem, Task
from raycollab.types import Batch, Round, State, Update

DROPPED = "dropped"


@dataclass(frozen=True, kw_only=True)
class MetaLearner(Learner):
    """Looks for parameters from which a few examples are enough.

    In an outer step the mean gradient over episodes goes through `outer`, as an ordinary gradient does. With one step
    of SGD at a rate of 1, the default, the delta is minus the meta-gradient, and a `ServerOptimizer` right of the rule
    takes the step. Parameters that are not exchanged learn as well, and stay with the agent.

    Args:
        tasks: Draws the episodes.
        episodes: Of one outer step, >= 1.
        outer_steps: Of a round, >= 1.
        outer: Takes the outer steps: SGD or Optimizer, of which rates, momentum, schedule and max_grad_norm count; None
            is SGD(lr=1.0).
        max_dropped: Share of a round's episodes that may diverge, in [0, 1): those are left out; above it the agent
            fails the round.
        vectorised: Whether episodes are worked through together, by `torch.func.vmap`, to the same but for rounding;
            None lets a run measure which is faster, and write that into its experiment.
    """

    tasks: Episodes = PartyTask()  # noqa: RUF009 - frozen
    episodes: int = 4
    outer_steps: int = 1
    outer: LocalLearner | None = None
    max_dropped: float = 0.1
    vectorised: bool | None = None

    sends: ClassVar[tuple[str, ...]] = (*REPORTED, DROPPED)

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in ("episodes", "outer_steps"):
            require(getattr(self, name) >= 1, f"{kind}.{name}", getattr(self, name), "must be >= 1")
        require(0 <= self.max_dropped < 1, f"{kind}.max_dropped", self.max_dropped, "must be in [0, 1)")
        drawn = isinstance(self.tasks, Episodes)
        require(drawn, f"{kind}.tasks", self.tasks, "must be Episodes, such as PartyTask(10, 10) or FewShot(5, 1)")
        steps = self.outer is None or isinstance(self.outer, LocalLearner)
        require(steps, f"{kind}.outer", self.outer, "must be a LocalLearner, such as SGD(lr=0.1)")

    @property
    def stepper(self) -> LocalLearner:
        """What takes the outer steps."""
        return self.outer or SGD(lr=1.0)

    @property
    def remembers(self) -> bool:  # type: ignore[override]
        """Whether the outer optimizer does."""
        return self.stepper.remembers

    def init(self, params: Tensor) -> State:
        """The outer optimizer's."""
        return self.stepper.init(params)

    @abstractmethod
    def adapt(
        self, model: Functional, params: Parameters, support: Batch, *, differentiable: bool = False
    ) -> dict[str, Tensor]:
        """Learn from a few examples.

        Args:
            model: The loss as a function of parameters.
            params: Where to start, all that learn; stays as it is.
            support: The examples.
            differentiable: Whether the result can be differentiated by `params`.
        Returns: All parameters after it.
        Raises: ModelError if the model has not what the rule needs.
        """

    def adapted(self, task: Task, module: nn.Module, support: Batch) -> nn.Module:
        """Let a trained module learn from a few examples, in place, where it is used.

        Raises: DataError if that leads nowhere.
        """
        model = Functional(task, module)
        with evaluating(module):
            params = self.adapt(model, model.params(), support)
        if not all(bool(tensor.isfinite().all()) for tensor in params.values()):
            raise DataError(f"{type(self).__name__} diverges on these examples: {self._remedy}")
        put(module, params)
        return module

    def outer_gradient(self, model: Functional, params: Parameters, episode: Episode) -> tuple[Tensor, Parameters]:
        """The loss [] that one episode reports, and the gradient that the start moves against.

        By default the query's loss after adaptation, and its gradient by the parameters before it.
        """
        support, query = episode

        def after(start: dict[str, Tensor]) -> Tensor:
            return model.loss(self.adapt(model, start, support, differentiable=True), query)

        return model.gradients(after, params)

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take this round's outer steps.

        Raises: UpdateError if too many episodes diverge; DataError if the shard is too small for one.
        """
        self._check_ways(problem)
        flat, buffers = problem.model, round.vectors.get(BUFFERS)
        flat.load(params, buffers)
        start = flat.read() if flat.lossy else params
        flat.module.train()
        model = Functional(problem.task, flat.module, traced=bool(self.vectorised))
        outer = replace(self.stepper, steps=self.outer_steps)
        stepper, factor = outer.begin(flat, state), outer.factors(problem, round)
        losses, factors, counted = list[Tensor](), list[float](), 0
        for step in range(self.outer_steps):
            if problem.stop():
                raise RoundStopped(
                    f"agent {problem.agent!r} was told to stop in round {round.index} after {step} outer steps"
                )
            numbers = range(step * self.episodes, (step + 1) * self.episodes)
            seeds = [round.seed_for("episode", problem.agent, number) for number in numbers]
            episodes = self.tasks.draw(problem.shard, seeds)
            losses.append(self.take_gradient(model, flat, episodes))
            counted += sum(problem.task.count(at(part, 0)) for part in episodes) * self.episodes
            if outer.max_grad_norm is not None:
                clip_gradients(flat, outer.max_grad_norm)
            factors.append(factor(step))
            stepper.step(flat, factors[-1])
        loss, dropped = self._mean_loss(torch.cat(losses), problem.agent, round)
        vectors = {DELTA: flat.moved(start)}
        if buffers is not None and buffers.numel():
            vectors[BUFFERS] = torch.zeros_like(buffers)
        steps = {"steps": float(len(factors)), "effective_steps": outer.effective_steps(factors)}
        scalars = {"loss": loss, **steps, "counted": float(counted), DROPPED: float(dropped)}
        weight = float(problem.shard.num_examples("train"))
        return Update(problem.agent, weight, vectors, scalars, round.base_version), stepper.state()

    def take_gradient(self, model: Functional, flat: FlatModel, episodes: Episode) -> Tensor:
        """Put the mean gradient of the episodes that did not diverge into `flat.grads`.

        Args:
            model: Of the same module as `flat`.
            flat: Where the gradient goes.
            episodes: As they were drawn, [e, n, ...] each.
        Returns: Their losses [e], NaN for those that diverged.
        """
        gradients = self._together if model.traced else self._one_by_one
        losses, total = gradients(model, episodes)
        flat.zero_grad()
        kept = max(int(losses.isfinite().sum()), 1)
        for name, parameter in flat.module.named_parameters():
            if parameter.grad is not None and name in total:
                parameter.grad.copy_(total[name].div(kept))  # a view into flat.grads
        return losses

    def _one_by_one(self, model: Functional, episodes: Episode) -> tuple[Tensor, dict[str, Tensor]]:
        params = model.params()
        losses, total = list[Tensor](), {name: torch.zeros_like(tensor) for name, tensor in params.items()}
        support, query = episodes
        for index in range(len(next(iter(support.values())))):
            loss, gradient = self.outer_gradient(model, params, (at(support, index), at(query, index)))
            good = bool(loss.isfinite()) and all(bool(tensor.isfinite().all()) for tensor in gradient.values())
            losses.append(loss.detach().float() if good else torch.full_like(loss, torch.nan).float())
            for name, tensor in gradient.items() if good else ():
                total[name].add_(tensor)
        return torch.stack(losses), total

    def _together(self, model: Functional, episodes: Episode) -> tuple[Tensor, dict[str, Tensor]]:
        params = model.params()

        def one(support: Batch, query: Batch) -> tuple[Tensor, Parameters]:
            return self.outer_gradient(model, params, (support, query))

        losses, gradients = together(one, type(self).__name__)(*map(dict, episodes))
        good, total = losses.isfinite(), {name: tensor.sum(0) for name, tensor in gradients.items()}
        if bool(good.all()) and all(bool(tensor.isfinite().all()) for tensor in total.values()):
            return losses.detach().float(), total  # as it nearly always is: one pass over the gradients
        for tensor in gradients.values():
            good = good & tensor.flatten(1).isfinite().all(1)
        losses = losses.detach().float().masked_fill(~good, torch.nan)
        return losses, {name: tensor[good].sum(0) for name, tensor in gradients.items()}

    @property
    def _remedy(self) -> str:
        inner = [f"{name}={getattr(self, name)}" for name in ("lr", "steps") if hasattr(self, name)]
        return f"lower {' or '.join([*inner, 'the outer rate'])}"

    def _check_ways(self, problem: Problem) -> None:
        ways = getattr(self.tasks, "ways", 0)
        room = getattr(problem.task, "num_classes", ways)
        if ways > room:
            raise ModelError(
                f"{type(self).__name__}.tasks={self.tasks}: ways={ways} classes are more than the task's "
                f"num_classes={room}: lower ways, or give the net and the task more outputs"
            )

    def _mean_loss(self, losses: Tensor, agent: str, round: Round) -> tuple[float, int]:
        good = losses[losses.isfinite()]
        dropped = len(losses) - len(good)
        if dropped > self.max_dropped * len(losses):
            raise UpdateError(
                f"agent {agent!r}: {dropped} of {len(losses)} episodes diverged in round {round.index}, "
                f"max_dropped={self.max_dropped}; {self._remedy}"
            )
        return good.mean().item(), dropped


def together(one: Callable[..., tuple[Tensor, Parameters]], kind: str) -> Callable[..., tuple[Tensor, Parameters]]:
    """A function of one episode as one of several [e, ...].

    Raises: ModelError, when it is called, for what cannot be taken for several at once.
    """
    mapped = torch.func.vmap(one)

    def checked(*parts: dict[str, Tensor]) -> tuple[Tensor, Parameters]:
        try:
            made: tuple[Tensor, Parameters] = mapped(*parts)
        except RuntimeError as error:
            first = next(iter(str(error).strip().splitlines()), "")
            raise ModelError(f"{kind}(vectorised=True): {first}; set vectorised=False") from error
        return made

    return checked
