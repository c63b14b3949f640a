"""Layers of k agents at once: forward, and a backward pass that takes the step.

Activations are folded: row r of [k * b, ...] belongs to agent r // b. A layer without parameters is the same for all
agents and sees one large batch; one with parameters unfolds them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.fused.descent import Descent


class Layer(ABC):
    """One layer of a chain."""

    @abstractmethod
    def forward(self, inputs: Tensor, params: Sequence[Tensor]) -> tuple[Tensor, Any]:
        """Outputs [k * b, ...], and what the backward pass needs.

        Args:
            inputs: [k * b, ...].
            params: All parameters of the chain, each [k, ...].
        """

    @abstractmethod
    def backward(self, grad: Tensor, saved: Any, descent: Descent, *, first: bool = False) -> Tensor:
        """Step the layer's parameters; the gradient of its inputs by what they were before.

        Args:
            grad: Gradient of the outputs [k * b, ...].
            saved: What forward kept.
            descent: Takes the step.
            first: Whether nobody needs the gradient of the inputs: it need not be made, and anything is returned.
        """


class Plain(Layer):
    """A layer without parameters, whose gradient autograd makes.

    Args:
        module: Works on examples one by one.
    """

    def __init__(self, module: nn.Module):
        self._module = module

    def forward(self, inputs: Tensor, params: Sequence[Tensor]) -> tuple[Tensor, Any]:
        """The module's outputs."""
        with torch.enable_grad():
            leaf = inputs.detach().requires_grad_()
            outputs = self._module(leaf)
        return outputs.detach(), (leaf, outputs)

    def backward(self, grad: Tensor, saved: Any, descent: Descent, *, first: bool = False) -> Tensor:
        """Autograd through this layer alone."""
        leaf, outputs = saved
        return torch.autograd.grad(outputs, leaf, grad)[0]


class ReLU(Layer):
    """max(x, 0)."""

    def forward(self, inputs: Tensor, params: Sequence[Tensor]) -> tuple[Tensor, Any]:
        """The positive part."""
        outputs = inputs.relu()
        return outputs, outputs

    def backward(self, grad: Tensor, saved: Any, descent: Descent, *, first: bool = False) -> Tensor:
        """The gradient where the output is positive."""
        return torch.ops.aten.threshold_backward(grad, saved, 0)


class Flatten(Layer):
    """[k * b, ...] as [k * b, f]."""

    def forward(self, inputs: Tensor, params: Sequence[Tensor]) -> tuple[Tensor, Any]:
        """The same elements as a matrix."""
        return inputs.flatten(1), inputs.shape

    def backward(self, grad: Tensor, saved: Any, descent: Descent, *, first: bool = False) -> Tensor:
        """The same elements in their old shape."""
        return grad.reshape(saved)


class Linear(Layer):
    """nn.Linear of every agent, as a product of k matrices.

    Args:
        weight, bias: Their places among the parameters [k, out, in] and [k, out]; no bias if None.
    """

    def __init__(self, weight: int, bias: int | None):
        self._weight, self._bias = weight, bias

    def forward(self, inputs: Tensor, params: Sequence[Tensor]) -> tuple[Tensor, Any]:
        """Inputs [k * b, ..., in] -> [k * b, ..., out]."""
        weight = params[self._weight]
        rows = inputs.reshape(len(weight), -1, inputs.shape[-1])  # [k, n, in]
        if self._bias is None:
            outputs = rows.bmm(weight.transpose(1, 2))
        else:
            outputs = torch.baddbmm(params[self._bias].unsqueeze(1), rows, weight.transpose(1, 2))
        return outputs.view(*inputs.shape[:-1], weight.shape[1]), (inputs.shape, rows)

    def backward(self, grad: Tensor, saved: Any, descent: Descent, *, first: bool = False) -> Tensor:
        """The weights' gradient is a product, and so never stored."""
        shape, rows = saved
        weight = descent.params[self._weight]
        grads = grad.reshape(len(weight), -1, weight.shape[1])  # [k, n, out]
        before = grad if first else grads.bmm(weight).view(shape)
        descent.by_product(self._weight, grads.transpose(1, 2), rows)
        if self._bias is not None:
            descent.by_gradient(self._bias, grads.sum(1))
        return before


class Conv2d(Layer):
    """nn.Conv2d of every agent, as one convolution of k groups.

    Args:
        module: Gives stride, padding and dilation.
        weight, bias: Their places among the parameters [k, out, in, h, w] and [k, out]; no bias if None.
    """

    def __init__(self, module: nn.Conv2d, weight: int, bias: int | None):
        padding = [int(side) for side in module.padding]
        self._form = (list(module.stride), padding, list(module.dilation))
        self._weight, self._bias = weight, bias

    def forward(self, inputs: Tensor, params: Sequence[Tensor]) -> tuple[Tensor, Any]:
        """Inputs [k * b, in, h, w] -> [k * b, out, h', w']."""
        weight = params[self._weight]
        k = len(weight)
        grouped = _grouped(inputs, k)
        bias = None if self._bias is None else params[self._bias].flatten()
        outputs = functional.conv2d(grouped, weight.flatten(0, 1), bias, *self._form, groups=k)
        return _folded(outputs, k), grouped

    def backward(self, grad: Tensor, saved: Any, descent: Descent, *, first: bool = False) -> Tensor:
        """One backward convolution of k groups."""
        weight = descent.params[self._weight]
        k, out = weight.shape[:2]
        wanted = [not first, True, self._bias is not None]
        before, by_weight, by_bias = torch.ops.aten.convolution_backward(
            _grouped(grad, k), saved, weight.flatten(0, 1), [k * out], *self._form, False, [0, 0], k, wanted
        )
        descent.by_gradient(self._weight, by_weight.view_as(weight))
        if self._bias is not None:
            descent.by_gradient(self._bias, by_bias.view(k, out))
        return grad if first else _folded(before, k)


def _grouped(folded: Tensor, k: int) -> Tensor:
    """[k * b, c, h, w] -> [b, k * c, h, w]."""
    return folded if k == 1 else folded.unflatten(0, (k, -1)).transpose(0, 1).flatten(1, 2)


def _folded(grouped: Tensor, k: int) -> Tensor:
    """[b, k * c, h, w] -> [k * b, c, h, w]."""
    return grouped if k == 1 else grouped.unflatten(1, (k, -1)).transpose(0, 1).flatten(0, 1)
