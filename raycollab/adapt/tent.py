"""TENT: BatchNorm's scale and shift learn to be sure of their predictions."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from raycollab.adapt.at_test import AtTest, entropies
from raycollab.adapt.batch_norm import norm_layers
from raycollab.errors import ModelError
from raycollab.optimizers import make_optimizer
from raycollab.settings import require
from raycollab.task import Task
from raycollab.types import Batch, State

_MEMORY = 0.9  # of the running mean of the entropy


@dataclass(frozen=True, kw_only=True)
class Tent(AtTest):
    """Lowers the entropy of its predictions by steps on BatchNorm's scale and shift, batch by batch.

    Two guards keep it from being sure of one class for all: examples that are too uncertain do not count, and once the
    mean entropy has sunk too low, scale and shift are set back to the trained ones.

    Args:
        lr: Rate of Adam.
        steps: On each batch.
        most: Examples of a larger entropy do not count, as a share of that of the uniform distribution, in (0, 1].
        least: Mean entropy over the last batches, as a share, under which it is reset; 0 never resets.
    Raises: ModelError for a model without BatchNorm's statistics, or without scale and shift.
    Source: Wang et al., ICLR 2021, arXiv 2006.10726, section 3; the first guard is that of Niu et al., ICML 2022, arXiv
        2204.02610, equation 2, the second that of Niu et al., ICLR 2023, arXiv 2302.12400, section 3.2. Predictions are
        those after the step.
    """

    lr: float = 1e-3
    steps: int = 1
    most: float = 0.4
    least: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.lr < math.inf, "Tent.lr", self.lr, "must be > 0 and finite")
        require(self.steps >= 1, "Tent.steps", self.steps, "must be >= 1")
        require(0 < self.most <= 1, "Tent.most", self.most, "must be in (0, 1]; 1 lets all examples count")
        require(0 <= self.least < self.most, "Tent.least", self.least, f"must be in [0, most={self.most:g})")

    def begin(self, module: nn.Module) -> State:
        """Let the layers use each batch's statistics, and remember their trained scale and shift."""
        layers = norm_layers(module, "Tent").values()
        learned = [p for layer in layers for p in (layer.weight, layer.bias) if isinstance(p, nn.Parameter)]
        if not learned:
            raise ModelError("Tent: BatchNorm has no scale and shift (affine=False), which are what it learns")
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        for parameter in learned:
            parameter.requires_grad_(True)
        for layer in layers:
            layer.train()
        return self._fresh(learned, [parameter.detach().clone() for parameter in learned])

    def _fresh(self, learned: list[nn.Parameter], trained: list[torch.Tensor]) -> State:
        optimizer = make_optimizer("Tent", "Adam", {"lr": self.lr}, list(learned))
        return {"learned": learned, "trained": trained, "optimizer": optimizer, "entropy": None}

    def step(self, task: Task, module: nn.Module, batch: Batch, state: State) -> State:
        """Take the steps, or go back to where it was trained."""
        with torch.enable_grad():
            for _ in range(self.steps):
                entropy = entropies(task, module, batch)
                sure = entropy[entropy < self.most * self._uniform(task)]
                if len(sure):
                    state["optimizer"].zero_grad()
                    sure.mean().backward()
                    state["optimizer"].step()
        share = float(entropy.detach().mean()) / self._uniform(task)
        running = share if state["entropy"] is None else _MEMORY * state["entropy"] + (1 - _MEMORY) * share
        if running >= self.least:
            return {**state, "entropy": running}
        with torch.no_grad():
            for parameter, trained in zip(state["learned"], state["trained"], strict=True):
                parameter.copy_(trained)
        return self._fresh(state["learned"], state["trained"])

    def _uniform(self, task: Task) -> float:
        """Entropy of the uniform distribution over the task's classes, in nats."""
        classes = getattr(task, "num_classes", None)
        if not isinstance(classes, int):
            raise ModelError(f"Tent: {type(task).__name__} has no num_classes: it is for tasks that choose one of them")
        return math.log(classes)
