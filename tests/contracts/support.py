"""Small experiments that run on a LocalPool in a fraction of a second."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

import raycollab as rc
from raycollab.checkpoint import RunFolder
from raycollab.metrics import Average, Statistics
from raycollab.runtime.pool import LocalPool
from raycollab.task import Fingerprint
from raycollab.tree import flatten

NUM_AGENTS = 8
TEST = rc.data.Arrays(rc.data.Digits("test").read(), "digits/test")
DIGITS = rc.ImageClassification(rc.models.MLP(64, 10, hidden=(16,)), num_classes=10)
ONE_STEP = rc.SGD(lr=0.1, steps=1, batch_size=8)
_RUNS = tempfile.TemporaryDirectory(prefix="raycollab-runs-")  # gone when the process ends


def digits(
    learners: rc.Learner | Sequence[rc.Learner] = ONE_STEP,
    *chain: Any,
    task: rc.Task = DIGITS,
    rounds: int = 2,
    num_agents: int = NUM_AGENTS,
    run: dict[str, Any] | None = None,
    **settings: Any,
) -> rc.Experiment:
    """Agents with skewed labels and sizes on the digits; the mean, unless a chain is given."""
    each = learners if isinstance(learners, Sequence) else [learners]
    shards = rc.data.Digits("train").split(rc.Dirichlet(0.5, num_parts=num_agents))
    agents = [rc.Agent(f"agent-{i}", shard, each[i % len(each)]) for i, shard in enumerate(shards)]
    return experiment(agents, *chain, task=task, test=TEST, rounds=rounds, run=run, **settings)


def experiment(
    agents: Sequence[rc.Agent],
    *chain: Any,
    task: rc.Task,
    test: rc.Source,
    rounds: int,
    run: Any = None,
    **settings: Any,
) -> rc.Experiment:
    """An experiment of these agents; `run` and `settings` are further fields."""
    config = rc.RunConfig(num_rounds=rounds, **(run or {}))
    return rc.Experiment(task, rc.Parties(tuple(agents)), chain or (rc.Mean(),), test, run=config, **settings)


class Training:
    """An experiment on a LocalPool: `driver`, `pool`, and the `reports` so far. A folder given twice is resumed."""

    def __init__(
        self, experiment: rc.Experiment, *, num_hosts: int = 1, folder: RunFolder | None = None, device: str = "cpu"
    ):
        self.experiment = experiment.resolved()
        self.folder = folder or RunFolder.create(tempfile.mkdtemp(dir=_RUNS.name))
        self.pool = LocalPool(
            self.experiment.session(),
            self.experiment.members(),
            replace(self.experiment.layout(num_cpus=1), num_hosts=num_hosts),
            device,
        )
        self.driver = rc.Driver(self.experiment.plan(), self.pool, self.folder, device)
        self.cards = self.driver.start()
        self.reports: list[Any] = []

    def steps(self, count: int) -> "Training":
        """Run this many rounds."""
        self.reports += [self.driver.step() for _ in range(count)]
        return self

    def finish(self) -> "Training":
        """Run all rounds that are left."""
        self.reports += list(self.driver.rounds())
        return self

    @property
    def params(self) -> Tensor:
        """The committed parameters [d]."""
        return self.driver.vectors["params"]

    @property
    def buffers(self) -> Tensor:
        """The committed buffers [b]."""
        return self.driver.vectors["buffers"]

    def remembered(self, agent: str) -> Any:
        """What an agent remembers of its newest round."""
        live = next(host._agents[agent] for host in self.pool._hosts.values() if agent in host._agents)
        states = live.memory.states
        return states[max(states)] if states else None

    def models(self) -> list[Any]:
        """The scratch models of all hosts."""
        return [model for host in self.pool._hosts.values() for _, model in host._models]

    def bits(self) -> list[bytes]:
        """The bits of everything that is committed or remembered: to be compared."""
        remembered = {name: self.remembered(name) for name in self.driver.plan.names}
        tensors, _ = flatten([self.driver.state_dict(), remembered])
        plain = flatten([self.driver.roster.memory, self.driver._mode_state])[1]
        return [
            repr(plain).encode(),
            *(t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for t in tensors.values()),
        ]


def train(experiment: rc.Experiment, **settings: Any) -> Training:
    """Run an experiment to its end."""
    return Training(experiment, **settings).finish()


@dataclass(frozen=True)
class Point(rc.models.Model):
    """A model that is one vector [size], at zero."""

    size: int

    def build(self) -> nn.Module:
        module = nn.Module()
        module.w = nn.Parameter(torch.zeros(self.size))
        return module


@dataclass(frozen=True)
class Quadratic(rc.Task):
    """Mean over examples of sum(a * (w - x)^2) / 2, with columns "x" and "a" [n, size]: gradient mean(a * (w - x))."""

    size: int = 4

    def model(self) -> nn.Module:
        return Point(self.size).build()

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        return (batch["a"] * (model.w - batch["x"]) ** 2).sum(1).mean() / 2

    def statistics(self, model: nn.Module, batch: Any) -> Statistics:
        return Statistics.of(
            {"loss": Average("loss", float(self.loss(model, batch)) * len(batch["x"]), len(batch["x"]))}
        )

    def predict(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        return {"w": model.w.expand(len(batch["x"]), -1)}

    def fingerprint(self, spec: Any) -> Fingerprint:
        return Fingerprint("quadratic", ("loss",), tuple((entry.name, entry.shape) for entry in spec.params))


def quadratics(
    sizes: Sequence[int], learner: rc.Learner, *chain: Any, size: int = 4, rounds: int = 3, **settings: Any
) -> tuple[rc.Experiment, list[dict[str, Tensor]]]:
    """Agents with this many examples of their own quadratic each, and their columns, for a reference."""
    generator = torch.Generator().manual_seed(0)
    columns = [
        {"x": torch.randn(n, size, generator=generator) + i, "a": torch.rand(n, size, generator=generator) + 0.5}
        for i, n in enumerate(sizes)
    ]
    agents = [rc.Agent(f"agent-{i}", rc.data.Arrays(held), learner, val_fraction=0.0) for i, held in enumerate(columns)]
    test = rc.data.Arrays({"x": torch.zeros(2, size), "a": torch.ones(2, size)})
    return experiment(agents, *chain, task=Quadratic(size), test=test, rounds=rounds, **settings), columns


def gradient(columns: dict[str, Tensor], w: Tensor) -> Tensor:
    """The gradient of an agent's quadratic over all its examples."""
    return (columns["a"] * (w - columns["x"])).mean(0)


def full_batch(lr: float, steps: int) -> dict[str, Any]:
    """Settings of SGD with which every step sees all examples: nothing is random."""
    return {"lr": lr, "steps": steps, "batch_size": 10**6}


def with_run(experiment: rc.Experiment, **changes: Any) -> rc.Experiment:
    """The experiment with other run settings."""
    return replace(experiment, run=replace(experiment.run, **changes))
