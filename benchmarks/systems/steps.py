"""Local training on the floor: module, autograd, and SGD on parameters that lie in one flat buffer."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.workloads import Workload

Columns = Mapping[str, Tensor]


class Steps(Protocol):
    """How one process of the floor trains its agents."""

    def first(self) -> Tensor:
        """The first parameters [d]."""

    def train(self, start: Tensor, agents: Sequence[Columns], total: Tensor) -> None:
        """Train each agent from start [d], and put the sum of examples times parameters into total [d]."""

    def module(self, params: Tensor) -> nn.Module:
        """The model with these parameters [d]."""


class PlainSteps:
    """One agent after another through autograd.

    Gradients are new tensors that the step consumes: in a flat buffer they would have to be zeroed and added to, which
    is no faster.
    """

    def __init__(self, workload: Workload):
        self._workload = workload
        self._module = workload.build()
        self._params = list(self._module.parameters())
        self._flat = torch.cat([param.data.reshape(-1) for param in self._params])
        for param, part in zip(self._params, self._flat.split([p.numel() for p in self._params]), strict=True):
            param.data = part.view(param.shape)

    def first(self) -> Tensor:
        """The first parameters [d]."""
        return self._flat.clone()

    def train(self, start: Tensor, agents: Sequence[Columns], total: Tensor) -> None:
        """See Steps."""
        for index, columns in enumerate(agents):
            self._flat.copy_(start)
            self._learn(columns)
            weight = float(len(columns["label"]))
            if index:
                total.add_(self._flat, alpha=weight)
            else:
                torch.mul(self._flat, weight, out=total)
        if not agents:
            total.zero_()

    def _learn(self, columns: Columns) -> None:
        order = torch.randperm(len(columns["label"]))
        features, label = columns["features"][order], columns["label"][order]
        size = self._workload.batch_size
        for inputs, wanted in zip(features.split(size), label.split(size), strict=True):
            functional.cross_entropy(self._module(inputs), wanted).backward()
            for param in self._params:
                param.data.add_(param.grad, alpha=-self._workload.lr)
                param.grad = None

    def module(self, params: Tensor) -> nn.Module:
        """See Steps."""
        self._flat.copy_(params)
        return self._module
