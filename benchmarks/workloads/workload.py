"""The workloads of rounds, as values."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from benchmarks.workloads import nets

_TEN = 10  # agents of W5 are sampled by tenths


@dataclass(frozen=True)
class Workload:
    """A collaboration that any system can run: local SGD, then the weighted mean.

    Its data is generated, unless it is of real images and benchmarks.rounds has found them.

    Args:
        name: W1, W2, W3, W5 or G1.
        net: Name of a function in benchmarks.workloads.nets.
        net_args: Its arguments, as pairs.
        shape: Of one example.
        agents: How many there are.
        share: Share of them that takes part in a round.
        examples: Of each agent.
        batch_size: Of a step; a round is one pass over the examples.
        lr: Learning rate of SGD.
        separation: Length of the classes' centres by coordinate, where noise has 1.
        rounds: Rounds of a run.
        num_test: Examples that the accuracy is of.
        eval_every: Rounds after which the shared set is scored again; None scores it once, after the last.
        images: Whether its examples are those of CIFAR-10, where they are at hand.
        gpu: Whether it is for a GPU, which one process has to itself.
    """

    name: str
    net: str
    net_args: tuple[tuple[str, Any], ...]
    shape: tuple[int, ...]
    agents: int
    share: float
    examples: int
    batch_size: int
    lr: float
    separation: float
    rounds: int
    num_test: int = 2000
    num_classes: int = 10
    eval_every: int | None = None
    images: bool = False
    gpu: bool = False

    @property
    def agents_per_round(self) -> int:
        """Agents that take part in a round."""
        return max(1, round(self.agents * self.share))

    def build(self) -> nn.Module:
        """The model with its first weights, the same for every system."""
        return getattr(nets, self.net)(**dict(self.net_args))

    @property
    def processes(self) -> int:
        """That a system has, unless it is told otherwise."""
        return 1 if self.gpu else 2

    @property
    def num_params(self) -> int:
        """Parameters of the model, counted without making them."""
        with torch.device("meta"):
            return sum(param.numel() for param in self.build().parameters())

    def sized(self, *, agents: int | None = None, rounds: int | None = None) -> "Workload":
        """With other numbers, where they are given."""
        return replace(self, agents=agents or self.agents, rounds=rounds or self.rounds)

    def tiny(self) -> "Workload":
        """The same in a second or two, for trying the scripts out."""
        return replace(self, **_TINY[self.name], rounds=3, num_test=100)


_MLP = Workload(
    name="W1",
    net="mlp",
    net_args=(("widths", (784, 200, 10)),),
    shape=(1, 28, 28),
    agents=1000,
    share=0.05,
    examples=50,
    batch_size=10,
    lr=0.1,
    separation=0.1,
    rounds=30,
)
_CNN = replace(
    _MLP,
    name="W2",
    net="cnn",
    net_args=(("channels", (3, 32, 64)), ("size", 32), ("hidden", 128), ("num_classes", 10)),
    shape=(3, 32, 32),
    agents=8,
    share=1.0,
    examples=500,
    batch_size=32,
    lr=0.05,
    separation=0.1,
    rounds=10,
)
_LARGE = replace(
    _MLP,
    name="W3",
    net_args=(("widths", (784, 9610, 9610, 10)),),  # 100,001,670 parameters
    agents=4,
    share=1.0,
    examples=1,
    batch_size=1,
    lr=0.01,
    rounds=10,
    num_test=500,
)
_SCALE = replace(_MLP, name="W5", agents=10_000, share=1 / _TEN, rounds=10)
_GPU = replace(
    _MLP,
    name="G1",
    net="cnn",
    net_args=(("channels", (3, 32, 64)), ("size", 32), ("hidden", 392), ("num_classes", 10)),  # 1,629,346 parameters
    shape=(3, 32, 32),
    rounds=1500,
    num_test=10_000,
    eval_every=10,
    images=True,
    gpu=True,
)
WORKLOADS = {workload.name: workload for workload in (_MLP, _CNN, _LARGE, _SCALE, _GPU)}
_TINY: dict[str, dict[str, Any]] = {
    "W1": {"agents": 20, "share": 0.2, "net_args": (("widths", (784, 16, 10)),)},
    "W2": {"agents": 2, "examples": 40, "net_args": (*_CNN.net_args, ("channels", (3, 4, 4)), ("hidden", 8))},
    "W3": {"agents": 2, "net_args": (("widths", (784, 20, 20, 10)),)},
    "G1": {
        "agents": 20,
        "share": 0.2,
        "eval_every": 2,
        "net_args": (*_GPU.net_args, ("channels", (3, 4, 4)), ("hidden", 8)),
    },
    "W5": {"agents": 20, "net_args": (("widths", (784, 16, 10)),)},
}
