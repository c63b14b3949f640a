"""The models, with first weights that do not depend on who builds them."""

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import pairwise

import torch
from torch import nn


def _first_weights(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Draw the weights from a seed of their own, and leave the process's stream as it was."""

    @wraps(build)
    def built(**arguments) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return build(**arguments)

    return built


@_first_weights
def mlp(*, widths: Sequence[int]) -> nn.Module:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@_first_weights
def cnn(*, channels: Sequence[int], size: int, hidden: int, num_classes: int) -> nn.Module:
    """Blocks of convolution 3x3, ReLU and 2x2 pooling, then one hidden layer."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    num_features = channels[-1] * (size >> (len(channels) - 1)) ** 2
    head = [nn.Flatten(), nn.Linear(num_features, hidden), nn.ReLU(), nn.Linear(hidden, num_classes)]
    return nn.Sequential(*layers, *head)
