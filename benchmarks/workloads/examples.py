"""The data: the same bytes for every system, generated agent by agent wherever they are needed, or real images."""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.workloads.real import real_images
from benchmarks.workloads.workload import Workload

_SEED = 20_000  # agent i draws from _SEED + 1 + i, the test set from _SEED - 1
_COARSE = 4  # centres of images vary over blocks of this many pixels, so that convolutions can see them


def examples(workload: Workload, agent: int) -> dict[str, Tensor]:
    """One agent's examples, features [n, ...] and labels [n]: real ones, or some around the centre of their class."""
    first = agent * workload.examples
    real = real_images(workload, "train", first, first + workload.examples)
    return real or _drawn(workload, _SEED + 1 + agent, workload.examples)


def held_out(workload: Workload) -> dict[str, Tensor]:
    """Examples that no agent has."""
    return real_images(workload, "test", 0, workload.num_test) or _drawn(workload, _SEED - 1, workload.num_test)


def accuracy(workload: Workload, module: nn.Module) -> float:
    """Share of the test examples that a module is right about, worked out where the module is."""
    device = next(module.parameters()).device
    data = {name: column.to(device) for name, column in held_out(workload).items()}
    module.eval()
    with torch.no_grad():
        return (module(data["features"]).argmax(1) == data["label"]).float().mean().item()


def _drawn(workload: Workload, seed: int, count: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(workload.num_classes, (count,), generator=generator)
    noise = torch.randn(count, *workload.shape, generator=generator)
    centres = _centres(workload.num_classes, workload.shape)
    return {"features": noise.add_(centres[label], alpha=workload.separation), "label": label}


@lru_cache(maxsize=4)
def _centres(num_classes: int, shape: tuple[int, ...]) -> Tensor:
    """One centre a class [num_classes, ...]."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(_SEED)
    coarse = torch.randn(num_classes, channels, height // _COARSE, width // _COARSE, generator=generator)
    return functional.interpolate(coarse, scale_factor=_COARSE, mode="nearest")
