"""A task's loss as a function of parameters that are an argument."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.nn.modules.batchnorm import _BatchNorm

from raycollab.errors import ModelError
from raycollab.task import Task
from raycollab.types import Batch

Parameters = Mapping[str, Tensor]  # by their names in the module


class Functional:
    """Calls a module with the parameters that it is given, and leaves its own as they are.

    Buffers that the module would move are copies in each call. BatchNorm is transductive, as in the code of MAML: it
    normalises support and queries by the statistics of the batch itself, in use as in training, so it must keep none.

    Args:
        task: Its loss.
        module: The task's model.
        traced: Whether it is called inside `torch.func.vmap`; else gradients are plain autograd's, which knows a few
            operations more.
    Raises: ModelError for a BatchNorm that keeps running statistics: no episode would ever move them.
    """

    def __init__(self, task: Task, module: nn.Module, *, traced: bool = False):
        for name, part in module.named_modules():
            if isinstance(part, _BatchNorm) and part.running_mean is not None:
                raise ModelError(
                    f"{name}: {type(part).__name__} keeps running statistics, which learning from episodes does not "
                    f"move; build it with track_running_stats=False (a batch's own), or take GroupNorm"
                )
        self.task = task
        self.traced = traced
        self._called = _Called(module)

    @property
    def module(self) -> nn.Module:
        """The task's model."""
        return self._called.module

    def params(self) -> dict[str, Tensor]:
        """The module's trainable parameters, as tensors that share its memory."""
        return {name: p.detach() for name, p in self.module.named_parameters() if p.requires_grad}

    def loss(self, params: Parameters, batch: Batch) -> Tensor:
        """The mean loss over a batch []; parameters that are not named are the module's own."""
        return self.call(self.task.loss, params, batch)

    def features(self, params: Parameters, batch: Batch) -> Tensor:
        """What the model makes of each example before its last layer [b, f]."""
        return self.call(self.task.features, params, batch)

    def call(self, function: Callable[[nn.Module, Batch], Tensor], params: Parameters, batch: Batch) -> Tensor:
        """A function of module and batch, with these parameters in the module."""
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        named = {f"module.{name}": tensor for name, tensor in {**buffers, **params}.items()}
        made: Tensor = functional_call(self._called, named, (function, batch))
        return made

    def gradients(
        self, function: Callable[[dict[str, Tensor]], Tensor], at: Parameters, *, differentiable: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A function's value [] and its gradient by all that it is given.

        Args:
            function: Of parameters by name.
            at: Where.
            differentiable: Whether both can be differentiated again, by what `at` depends on.
        Raises: ModelError for an operation that cannot, if differentiable.
        """
        try:
            taken = self._traced if self.traced else self._plain
            return taken(function, at, differentiable)
        except RuntimeError as error:
            first = next(iter(str(error).strip().splitlines()), "")
            if "is not implemented" in first or "once_differentiable" in first:
                raise ModelError(
                    f"no second derivative: {first}; take first order (order=1, FOMAML, Reptile), or change the net"
                ) from error
            raise

    def _plain(
        self, function: Callable[[dict[str, Tensor]], Tensor], at: Parameters, differentiable: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        def leaf(tensor: Tensor) -> Tensor:
            return tensor if differentiable and tensor.requires_grad else tensor.detach().requires_grad_()

        with torch.enable_grad():
            leaves = {name: leaf(tensor) for name, tensor in at.items()}
            value = function(leaves)
            grads = torch.autograd.grad(
                value, list(leaves.values()), create_graph=differentiable, materialize_grads=True
            )
        return value if differentiable else value.detach(), dict(zip(leaves, grads, strict=True))

    def _traced(
        self, function: Callable[[dict[str, Tensor]], Tensor], at: Parameters, differentiable: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        given = dict(at) if differentiable else {name: tensor.detach() for name, tensor in at.items()}
        grads, value = grad_and_value(function)(given)
        return value, grads


class _Called(nn.Module):
    """Any function of the module as a module, because `functional_call` calls modules."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, function: Callable[[nn.Module, Batch], Tensor], batch: Batch) -> Tensor:
        return function(self.module, batch)


def put(module: nn.Module, params: Parameters) -> None:
    """Copy parameters into a module."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in params:
                parameter.copy_(params[name])


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode: no dropout where a model is used; BatchNorm without running statistics is the same in both."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
