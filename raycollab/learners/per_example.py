"""Gradients of single examples, clipped and added up."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from raycollab.errors import ModelError
from raycollab.misfit import explained
from raycollab.models.frozen import is_fixed
from raycollab.task import Problem
from raycollab.types import Batch

_REMEDY = "set vectorised=False, which takes examples one by one, or change the net"


class PerExample:
    """Sums of the clipped gradients of single examples.

    Each is the gradient of the task's loss over a batch of that example alone, so what a net or a loss makes of several
    examples together does not count. One that is not finite counts as zero: an error would tell that it is there.

    Args:
        problem: The agent's.
        max_norm: L2 norm to which each gradient is clipped, over all trainable parameters.
        vectorised: Whether examples are worked through together by torch.func.vmap.
    """

    def __init__(self, problem: Problem, max_norm: float, *, vectorised: bool):
        self._problem, self._max_norm, self._vectorised = problem, max_norm, vectorised
        trainable = {name: p for name, p in problem.model.module.named_parameters() if p.requires_grad}
        self._trainable = trainable
        self._params = {f"module.{name}": parameter.detach() for name, parameter in trainable.items()}
        self._called = _Called(problem)
        self._gradients = vmap(grad(self._loss), in_dims=(None, 0), randomness="different")

    def add(self, batch: Batch) -> None:
        """Add the clipped gradients of a batch's examples to what stands in the model's `grads`."""
        if self._vectorised:
            kind = type(self._problem.task).__name__
            with explained(ModelError, f"{kind} cannot take the gradients of examples together", _REMEDY):
                self._add_together(batch)
        else:
            self._add_one_by_one(batch)

    def _add_together(self, batch: Batch) -> None:
        with sdpa_kernel(SDPBackend.MATH):  # the one form of attention that vmap knows
            gradients = self._gradients(self._params, batch)
        rows = [gradient.flatten(1) for gradient in gradients.values()]  # each [b, ...]
        norms = torch.stack([torch.linalg.vector_norm(each, dim=1) for each in rows]).norm(dim=0)  # [b]
        if not bool(norms.isfinite().all()):
            finite = norms.isfinite()
            rows, norms = [each[finite] for each in rows], norms[finite]
        factors = (self._max_norm / norms).clamp(max=1.0)
        for parameter, each in zip(self._trainable.values(), rows, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_((factors @ each).view_as(parameter))

    def _add_one_by_one(self, batch: Batch) -> None:
        model = self._problem.model
        totals = [each.clone() for each in model.grads]
        for row in range(num_rows(batch)):
            self._problem.backward(_rows(batch, slice(row, row + 1)))
            norm = torch.stack([each.norm() for each in model.grads]).norm()
            if bool(norm.isfinite()):
                for total, each in zip(totals, model.grads, strict=True):
                    total.add_(each * (self._max_norm / norm).clamp(max=1.0))
        for each, total in zip(model.grads, totals, strict=True):
            each.copy_(total)

    def _loss(self, params: Mapping[str, Tensor], example: Batch) -> Tensor:
        """The loss of a batch of one."""
        buffers = {f"module.{name}": buffer.clone() for name, buffer in self._problem.model.module.named_buffers()}
        made: Tensor = functional_call(self._called, {**buffers, **params}, (_each(example, lambda x: x.unsqueeze(0)),))
        return made


class _Called(nn.Module):
    """A problem's loss as a module, because `functional_call` calls modules."""

    def __init__(self, problem: Problem):
        super().__init__()
        self.module = problem.model.module
        self._problem = problem

    def forward(self, batch: Batch) -> Tensor:
        return self._problem.loss(batch)


def check_examples_stand_alone(module: nn.Module, who: str) -> None:
    """Raise ModelError for a net in which examples of a batch change what is made of each other."""
    norms = [(name, part) for name, part in module.named_modules() if isinstance(part, _BatchNorm)]
    found = [(name, part) for name, part in norms if not is_fixed(part)]
    if found:
        name, part = found[0]
        raise ModelError(
            f"{who}: {name} is a {type(part).__name__}, which mixes the examples of a batch, so that no gradient is of "
            f"one alone: take GroupNorm or LayerNorm, or freeze it with rc.models.Frozen"
        )


def num_rows(batch: Batch) -> int:
    """Examples of a batch."""
    first = next(iter(batch.values()))
    return num_rows(first) if isinstance(first, Mapping) else len(first)


def _rows(batch: Batch, rows: slice) -> dict[str, Any]:
    return _each(batch, lambda column: column[rows])


def _each(batch: Any, change: Any) -> Any:
    if isinstance(batch, Mapping):
        return {name: _each(value, change) for name, value in batch.items()}
    return change(batch)
