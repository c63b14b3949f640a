"""A personal branch: the end of the model becomes the agent's own."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from raycollab.adapt.action import Scene
from raycollab.adapt.keeping import Keeping
from raycollab.errors import ModelError
from raycollab.learners import Learner
from raycollab.own_model import OWN
from raycollab.settings import require
from raycollab.spec import Entry
from raycollab.task import Problem
from raycollab.types import Batch, Round, State, Update


@dataclass(frozen=True)
class Branch(Keeping):
    """Makes a private copy of a part of the model, which the agent learns for itself while the rest stays common.

    It is for data whose labels mean something else now: a common head would have to serve both. At first the branch
    learns alone and nothing is sent: else the rest of the model would follow the errors of a head that does not fit.

    Args:
        include: Patterns of exchanged parameters and buffers, such as `("head.*",)`; empty takes the last nn.Linear.
        alone: Rounds in which nothing but the branch learns, >= 0.
    Raises: ModelError if a pattern matches nothing that is exchanged.
    Source: Arivazhagan et al., 2019, arXiv 1912.00818 (a personal head), begun only once it is needed; Kumar et al.,
        ICLR 2022, arXiv 2202.10054, section 3 (the head first).
    """

    include: tuple[str, ...] = ()
    alone: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "include", tuple(self.include))
        require(self.alone >= 0, "Branch.alone", self.alone, "must be >= 0 rounds")

    def check_model(self, module: nn.Module) -> None:
        """Raise ModelError for a pattern that matches nothing."""
        there = [*dict(module.named_parameters()), *dict(module.named_buffers())]
        self._matched(there, module, "nothing")

    def names(self, scene: Scene) -> Collection[str]:
        """What the patterns match."""
        spec = scene.problem.model.spec
        there = [entry.name for entry in (*spec.params, *spec.buffers)]
        return self._matched(there, scene.problem.model.module, "nothing that is exchanged")

    def _matched(self, there: list[str], module: nn.Module, nothing: str) -> list[str]:
        patterns = self.include or _last_linear(module)
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in there):
                raise ModelError(f"Branch.include: {pattern!r} matches {nothing}; there are: {', '.join(there)}")
        return [name for name in there if any(fnmatchcase(name, pattern) for pattern in patterns)]

    def begin(self, scene: Scene) -> State:
        """Its own are what the agent uses now, and learn alone at first."""
        return {**super().begin(scene), "alone": self.alone}

    def learn(
        self, learner: Learner, problem: Problem, params: Tensor, state: State, own: State, round: Round
    ) -> tuple[Update, State, State]:
        """Let the learner start from its own, and change nothing else at first."""
        left = own["alone"]
        if left:
            given = {field.name: getattr(problem, field.name) for field in fields(problem)}
            problem = _Alone(**given, learns=_mask(problem.model.spec.params, own[OWN], params))
        update, state, after = super().learn(learner, problem, params, state, own, round)
        if left:
            spec = problem.model.spec
            update = replace(update, withheld=tuple(entry.name for entry in (*spec.params, *spec.buffers)))
        return update, state, {**after, "alone": max(left - 1, 0)}


@dataclass(frozen=True)
class _Alone(Problem):
    """A problem of which only some exchanged parameters learn: those where `learns` is 1, [d]."""

    learns: Tensor

    def backward(self, batch: Batch, *, micro_batch_size: int | None = None, autocast: bool = False) -> Tensor:
        loss = super().backward(batch, micro_batch_size=micro_batch_size, autocast=autocast)
        for grad, learns in zip(self.model.shared_grads, self.model.split(self.learns), strict=True):
            grad.mul_(learns)
        return loss


def _mask(entries: Iterable[Entry], names: Collection[str], params: Tensor) -> Tensor:
    """1 for the elements of some entries, 0 for all others [d]."""
    mask = torch.zeros_like(params)
    for entry in entries:
        if entry.name in names:
            mask[entry.offset : entry.stop] = 1
    return mask


def _last_linear(module: nn.Module) -> tuple[str, ...]:
    """A pattern of the parameters of the last nn.Linear.

    Raises: ModelError if there is none.
    """
    found = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    if not found:
        raise ModelError(f"Branch.include: {type(module).__name__} has no nn.Linear; name the part that branches")
    return (f"{found[-1]}.*" if found[-1] else "*",)
