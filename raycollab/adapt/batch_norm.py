"""BatchNorm's statistics, taken anew from other data."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from raycollab.errors import ModelError
from raycollab.types import Batch


def norm_layers(module: nn.Module, who: str) -> dict[str, _BatchNorm]:
    """The BatchNorm layers that keep statistics, by name.

    Args:
        module: The model.
        who: What errors call whoever wants to change them.
    Raises: ModelError if there is none.
    """
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)}
    kept = {name: layer for name, layer in layers.items() if layer.running_mean is not None}
    if not kept:
        has = "BatchNorm without running statistics" if layers else "no BatchNorm layer"
        kind = type(module).__name__
        raise ModelError(f"{who}: {kind} has {has}, and so nothing to refresh; use a net with BatchNorm")
    return kept


@contextmanager
def normalising_by_batch(module: nn.Module, layers: Iterable[nn.Module]) -> Iterator[None]:
    """Let these layers use the statistics of each batch, while the rest of the module is in evaluation mode."""
    modes = {each: each.training for each in module.modules()}
    module.eval()
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for each, training in modes.items():
            each.training = training


def refresh(
    module: nn.Module, layers: Iterable[_BatchNorm], batches: Iterable[Batch], forward: Callable[[Batch], object]
) -> None:
    """Put the mean of the batches' statistics in the place of the running ones.

    Args:
        module: The model, changed in place.
        layers: Its BatchNorm layers.
        batches: The data, two examples or more each.
        forward: Calls the model.
    """
    layers = list(layers)
    momenta = [layer.momentum for layer in layers]
    with torch.no_grad(), normalising_by_batch(module, layers):
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over batches
        for batch in batches:
            forward(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
