"""A quadratic whose meta-gradients can be worked out by hand, and a small net in float64."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from raycollab.data import Shard
from raycollab.meta import Functional
from raycollab.meta.episodes import at
from raycollab.params import Exchange, FlatModel
from raycollab.spec import BUFFERS
from raycollab.task import Problem
from raycollab.tasks import Regression
from raycollab.types import Round

CURVES = torch.tensor([1.0, 3.0], dtype=torch.float64)  # second derivatives of the quadratic


class Point(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))

    def forward(self, center):
        return (CURVES * (self.w - center) ** 2).sum(1) / 2


@dataclass(frozen=True)
class Quadratic(Regression):
    """The loss is the mean over rows of sum_j a_j (w_j - center_j)^2 / 2."""

    net: object = None

    def __post_init__(self):
        pass

    def model(self):
        return Point()

    def loss(self, model, batch):
        return model(batch["features"]).mean()


@dataclass(frozen=True)
class Curved(Quadratic):
    """A tanh net in float64 under the squared error."""

    def model(self):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(2, 4), nn.Tanh(), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 1)
        ).double()

    def loss(self, model, batch):
        return (model(batch["features"]).squeeze(1) - batch["label"]).square().mean()


class Bench:
    """An agent with 20 rows; `start` is its model's parameters by name, in their own precision."""

    def __init__(self, task, exchange=None):
        generator = torch.Generator().manual_seed(1)
        features = torch.randn(20, 2, generator=generator, dtype=torch.float64)
        self.task = task
        self.columns = {"features": features, "label": features.sin().sum(1)}
        self.shard = Shard(self.columns, val_fraction=0.0, seed=0)
        self.model = FlatModel(task.model(), exchange or Exchange())
        self.problem = Problem("a", task, self.model, self.shard, lambda: False)
        self.params = self.model.read()
        self.round = Round(1, 7, 0, {"params": self.params, BUFFERS: self.model.read_buffers()})

    def functional(self, **settings):
        return Functional(self.task, self.model.module, **settings)

    @property
    def start(self):
        return {name: tensor.clone() for name, tensor in self.functional().params().items()}

    def episode(self, learner, number=0):
        support, query = learner.tasks.draw(self.shard, [self.round.seed_for("episode", "a", number)])
        return at(support, 0), at(query, 0)

    def update(self, learner, index=1):
        round = Round(index, 7, 0, self.round.vectors)
        return learner.update(self.problem, self.params, learner.init(self.params), round)[0]


@pytest.fixture
def quadratic():
    return Bench(Quadratic())


@pytest.fixture
def curved():
    return Bench(Curved())
