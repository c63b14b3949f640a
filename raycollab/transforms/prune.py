"""Pruning to a budget while the model is learned."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import ClassVar, Self

import torch
from torch import Tensor

from raycollab.errors import ModelError
from raycollab.settings import require
from raycollab.spec import ParamSpec, Segments
from raycollab.transforms.base import Transform
from raycollab.types import KEPT, State


@dataclass(frozen=True)
class Prune(Transform):
    """Keeps the largest elements of the common model, fewer from round to round, down to a budget; the others are 0.

    It is the last step of a chain: what is pruned stays 0 in every later version, whatever arrives. Elements are
    compared over all tensors together. Biases and norms, which have one dimension, are not pruned and do not count.
    With `broadcast=Sparse()` zeros do not travel.

    Args:
        keep: Share of the elements that is kept in the end, in (0, 1].
        end: Round after which it is reached.
        begin: Round after which pruning begins.
        exclude: Shell patterns over names of parameters that are not pruned either, such as ("head.*",).
        every: Rounds between one pruning and the next, so that what is left can learn.
    Source: Zhu and Gupta, 2017, arXiv 1710.01878, section 3, equation 1: kept(t) = keep + (1 - keep) (1 - t)^3, with t
        from 0 to 1; of each layer there, of all together here.
    """

    keep: float
    end: int
    begin: int = 0
    exclude: tuple[str, ...] = ()
    every: int = 1
    prunable: Segments | None = field(default=None, init=False, repr=False, compare=False)

    last: ClassVar[bool] = True
    formula = "keep the largest |w + delta|: share keep + (1 - keep) (1 - t)^3 in round t of end - begin"

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(self.exclude))
        require(0 < self.keep <= 1, "Prune.keep", self.keep, "must be in (0, 1]: the share that is kept")
        require(self.begin >= 0, "Prune.begin", self.begin, "must be >= 0")
        require(self.end > self.begin, "Prune.end", self.end, f"must be after begin={self.begin}")
        accepted = f"must be in 1..{self.end - self.begin}, the rounds from begin to end"
        require(1 <= self.every <= self.end - self.begin, "Prune.every", self.every, accepted)

    def bind(self, spec: ParamSpec) -> Self:
        """With the places of what can be pruned.

        Raises: ModelError if a pattern matches nothing, or nothing is left.
        """
        names = [entry.name for entry in spec.params]
        for pattern in self.exclude:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ModelError(f"Prune.exclude: {pattern!r} matches no parameter; there are: {', '.join(names)}")
        entries = [
            entry
            for entry in spec.params
            if len(entry.shape) > 1 and not any(fnmatchcase(entry.name, pattern) for pattern in self.exclude)
        ]
        if not entries:
            raise ModelError(f"Prune: no parameter of two dimensions is left to prune; there are: {', '.join(names)}")
        bound = replace(self)
        ranges = tuple((entry.offset, entry.stop) for entry in entries)
        object.__setattr__(bound, "prunable", Segments(spec.num_params, ranges))
        return bound

    def share(self, rounds: int) -> float:
        """The share that is kept after so many rounds."""
        steps = max(0, min(rounds, self.end) - self.begin)
        done = steps if rounds >= self.end else steps - steps % self.every
        left = 1 - done / (self.end - self.begin)
        return self.keep + (1 - self.keep) * left**3

    def init(self, params: Tensor) -> State:
        """Nothing is pruned."""
        return {"rounds": 0, "kept": torch.ones(len(params), dtype=torch.bool), "pruned": False}

    def tells(self, state: State) -> Mapping[str, float]:
        """The share that is kept, in rounds that pruned."""
        return {KEPT: self.share(state["rounds"])} if state["pruned"] else {}

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Prune if it is due, and bring what is pruned to 0."""
        del seed
        rounds, kept = state["rounds"] + 1, state["kept"].to(delta.device)
        before, now = self.share(state["rounds"]), self.share(rounds)
        if now < before:
            kept = self._chosen((params + delta).abs(), kept, now)
        pruned = torch.where(kept, delta, -params)
        return pruned, {"rounds": rounds, "kept": kept, "pruned": now < before}

    def _chosen(self, sizes: Tensor, kept: Tensor, share: float) -> Tensor:
        """Which elements are kept: the largest of those that still are, and all that cannot be pruned [d]."""
        places = self.prunable or Segments.all(len(sizes))
        held = torch.where(places.take(kept), places.take(sizes), -1.0)  # of what is pruned nothing comes back
        count = max(1, math.ceil(round(share * len(held), 6)))
        chosen = torch.zeros(len(held), dtype=torch.int8, device=sizes.device)
        chosen[held.topk(count, sorted=False).indices] = 1
        marks = torch.ones(len(sizes), dtype=torch.int8, device=sizes.device)
        places.add_into(marks, chosen - 1)
        return marks.bool() & kept
