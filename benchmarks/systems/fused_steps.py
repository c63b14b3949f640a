"""Local training fused by hand, for MLPs: several agents in one step, gradients of weights that are never stored."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.systems.steps import Columns
from benchmarks.workloads import Workload

_TOGETHER = 10  # agents in one step: their parameters and batches stay in the cache
_FITS = 5_000_000  # parameters beyond which agents train one by one


class FusedSteps:
    """SGD by `w.baddbmm_(x^T, dh, alpha=-lr)`, agents in groups of ten.

    Vectors [d] hold each layer's weight as [in, out] and then its bias, so that nothing is transposed on the way.

    Raises: SystemExit if the model is no MLP.
    """

    def __init__(self, workload: Workload):
        if workload.net != "mlp":
            raise SystemExit(
                f"floor-fused has no fused step for {workload.name}: its net is {workload.net!r}, not 'mlp'"
            )
        self._workload = workload
        self._linears = [layer for layer in workload.build() if isinstance(layer, nn.Linear)]
        size = sum(param.numel() for linear in self._linears for param in linear.parameters())
        self._stacked = torch.empty(_TOGETHER if size * _TOGETHER <= _FITS else 1, size)

    def first(self) -> Tensor:
        """The first parameters [d]."""
        parts = [part for linear in self._linears for part in (linear.weight.data.T.reshape(-1), linear.bias.data)]
        self._shapes = [linear.weight.T.shape for linear in self._linears]
        self._linears = []  # the module's own memory is not needed any more
        return torch.cat(parts)

    def train(self, start: Tensor, agents: Sequence[Columns], total: Tensor) -> None:
        """See Steps."""
        total.zero_()
        for group in range(0, len(agents), len(self._stacked)):
            members = agents[group : group + len(self._stacked)]
            stacked = self._stacked[: len(members)]
            stacked.copy_(start)
            self._learn(stacked, members)
            weight = float(self._workload.examples)  # all agents have as many
            total.add_(stacked.sum(0) if len(members) > 1 else stacked[0], alpha=weight)

    def _learn(self, stacked: Tensor, members: Sequence[Columns]) -> None:
        layers = self._layers(stacked)
        orders = [torch.randperm(self._workload.examples) for _ in members]
        features = torch.stack([m["features"][order] for m, order in zip(members, orders, strict=True)]).flatten(2)
        label = torch.stack([m["label"][order] for m, order in zip(members, orders, strict=True)])
        size = self._workload.batch_size
        for inputs, wanted in zip(features.split(size, 1), label.split(size, 1), strict=True):
            self._step(layers, inputs, wanted)

    def _layers(self, stacked: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Views of the stacked vectors [k, d]: of each layer the weights [k, in, out] and the biases [k, 1, out]."""
        layers, offset = [], 0
        for rows, columns in self._shapes:
            middle, stop = offset + rows * columns, offset + (rows + 1) * columns
            layers.append(
                (stacked[:, offset:middle].unflatten(1, (rows, columns)), stacked[:, middle:stop].unsqueeze(1))
            )
            offset = stop
        return layers

    def _step(self, layers: list[tuple[Tensor, Tensor]], inputs: Tensor, wanted: Tensor) -> None:
        """One step of all agents of the group: inputs [k, b, in], wanted [k, b]."""
        rate = self._workload.lr
        reached = [inputs]
        for weight, bias in layers:
            outputs = torch.baddbmm(bias, reached[-1], weight)
            reached.append(outputs.relu_() if len(reached) < len(layers) else outputs)
        grad = functional.softmax(reached.pop(), 2)  # [k, b, out]
        grad.scatter_add_(2, wanted.unsqueeze(2), grad.new_full((*wanted.shape, 1), -1.0))
        grad.mul_(1.0 / wanted.shape[1])
        while reached:
            before = reached.pop()
            weight, bias = layers[len(reached)]
            below = grad.bmm(weight.transpose(1, 2)).mul_(before > 0) if reached else grad
            weight.baddbmm_(before.transpose(1, 2), grad, alpha=-rate)
            bias.sub_(grad.sum(1, keepdim=True), alpha=rate)
            grad = below

    def module(self, params: Tensor) -> nn.Module:
        """See Steps."""
        module = self._workload.build()
        linears = [layer for layer in module if isinstance(layer, nn.Linear)]
        for linear, (weight, bias) in zip(linears, self._layers(params.unsqueeze(0)), strict=True):
            linear.weight.data.copy_(weight[0].T)
            linear.bias.data.copy_(bias[0, 0])
        return module
