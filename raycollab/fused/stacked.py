"""A model of k agents at once: their parameters side by side, and SGD steps that all of them take together."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from raycollab.fused.descent import Descent
from raycollab.fused.layers import Conv2d, Flatten, Layer, Linear, Plain, ReLU
from raycollab.params import FlatModel
from raycollab.spec import ParamSpec
from raycollab.vectors import empty

_ONE_BY_ONE = (  # without parameters, nothing random, and examples do not see each other
    nn.Identity, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softplus,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
)  # fmt: skip


def layers_of(model: FlatModel) -> list[Layer] | None:
    """The layers of a model that agents can share steps of; None where they have to learn one by one.

    That is a chain (nn.Sequential, also nested) of nn.Linear, nn.Conv2d and layers without parameters, in float32, all
    of it trained and exchanged.
    """
    modules = _chain_of(model.module)
    names = [entry.name for entry in model.spec.params]
    whole = not model.lossy and not model.private() and not model.spec.num_buffers
    if modules is None or not whole:
        return None
    places = {name: place for place, name in enumerate(names)}
    layers, used = [], 0
    for prefix, module in modules:
        layer = _layer(prefix, module, places)
        if layer is None:
            return None
        used += len(list(module.parameters()))
        layers.append(layer)
    return layers if used == len(names) else None


def _chain_of(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]] | None:
    """Modules in the order in which they are called, with their names; None if that cannot be told."""
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return None
    if type(module) is not nn.Sequential:
        return [(prefix, module)]
    chain: list[tuple[str, nn.Module]] = []
    for name, inner in module.named_children():
        below = _chain_of(inner, f"{prefix}{name}.")
        if below is None:
            return None
        chain += below
    return chain


def _layer(prefix: str, module: nn.Module, places: dict[str, int]) -> Layer | None:
    """The layer of a module of exactly these kinds: a subclass may do anything."""
    weight, bias = places.get(f"{prefix}weight"), places.get(f"{prefix}bias")
    kind = type(module)
    if kind is nn.Linear and weight is not None:
        return Linear(weight, bias)
    if isinstance(module, nn.Conv2d) and kind is nn.Conv2d and weight is not None:
        plain = module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return Conv2d(module, weight, bias) if plain else None
    if kind is nn.ReLU:
        return ReLU()
    if kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return Flatten()
    return Plain(module) if kind in _ONE_BY_ONE and not getattr(module, "return_indices", False) else None


class Stacked:
    """k copies of a model's parameters, with steps that all copies take together; scratch space, never memory.

    Args:
        layers: The model's, from `layers_of`.
        spec: What its vectors hold.
        count: Number of copies k.
        device: Where they compute.
    """

    def __init__(self, layers: Sequence[Layer], spec: ParamSpec, count: int, device: str = "cpu"):
        self._layers = layers
        self._first = next(place for place, layer in enumerate(layers) if isinstance(layer, Linear | Conv2d))
        self._sizes = [entry.stop - entry.offset for entry in spec.params]
        self.params = [torch.empty(count, *entry.shape, device=device) for entry in spec.params]
        self.count = count

    def load(self, params: Tensor) -> None:
        """Copy the same vector [d] into every copy."""
        for stacked, part in zip(self.params, params.split(self._sizes), strict=True):
            copies = stacked[0] if self.count == 1 else stacked  # one is copied faster than it is broadcast
            copies.copy_(part.view(stacked.shape[1:]))

    def deltas(self, start: Tensor) -> Tensor:
        """How far each copy is from a vector [d], as new vectors [k, d]."""
        size = self.count * len(start)
        deltas = (start.new_empty(size) if start.is_cuda else empty(size)).view(self.count, -1)
        parts = zip(self.params, start.split(self._sizes), deltas.split(self._sizes, 1), strict=True)
        for stacked, before, part in parts:
            torch.sub(stacked.view(self.count, -1), before, out=part)
        return deltas

    def vector(self, tensors: Sequence[Tensor], index: int) -> Tensor:
        """One copy's share of tensors that lie as the parameters do, as a new vector [d]."""
        return torch.cat([tensor[index].reshape(-1) for tensor in tensors])

    def like_params(self, vectors: Sequence[Tensor | None]) -> list[Tensor]:
        """Tensors that lie as the parameters do: of each copy its vector [d], or zeros."""
        tensors = [torch.zeros_like(param) for param in self.params]
        for index, vector in enumerate(vectors):
            if vector is not None:
                for tensor, part in zip(tensors, vector.split(self._sizes), strict=True):
                    tensor[index].view(-1).copy_(part)
        return tensors

    @torch.no_grad()
    def step(self, inputs: Tensor, losses: Callable[[Tensor], tuple[Tensor, Tensor]], descent: Descent) -> Tensor:
        """Take one step of all copies.

        Args:
            inputs: Their batches one after the other [k * b, ...].
            losses: Makes of the model's outputs [k * b, ...] the loss of every example [k * b], and its gradient by
                the outputs.
            descent: What a step is; its params are these.
        Returns: The mean loss of each copy's batch, before the step [k].
        """
        saved = []
        for layer in self._layers:
            inputs, kept = layer.forward(inputs, self.params)
            saved.append(kept)
        by_example, grad = losses(inputs)
        by_copy = by_example.view(self.count, -1)  # [k, b]
        grad = grad / by_copy.shape[1]
        for place in range(len(self._layers) - 1, self._first, -1):
            grad = self._layers[place].backward(grad, saved[place], descent)
        self._layers[self._first].backward(grad, saved[self._first], descent, first=True)
        return by_copy.mean(1)
