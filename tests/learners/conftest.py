"""One small problem, and the same steps taken by plain torch on an ordinary module."""

import pytest
import torch

from raycollab.data import Shard
from raycollab.models import CNN
from raycollab.params import Exchange, FlatModel
from raycollab.spec import BUFFERS
from raycollab.task import Problem
from raycollab.tasks import ImageClassification
from raycollab.types import Round

TASK = ImageClassification(CNN(3, size=4, channels=(2,), hidden=5), 3)


def build():
    torch.manual_seed(0)
    return TASK.model()


class Bench:
    """A problem of 20 images, and the reference."""

    def __init__(self, exchange):
        generator = torch.Generator().manual_seed(1)
        columns = {
            "image": torch.randn(20, 1, 4, 4, generator=generator),
            "label": torch.randint(0, 3, (20,), generator=generator),
        }
        self.shard = Shard(columns, val_fraction=0.0, seed=0)
        self.model = FlatModel(build(), exchange)
        self.problem = Problem("a", TASK, self.model, self.shard, lambda: False)
        self.params = self.model.read()
        self.round = Round(1, 7, 0, {"params": self.params, BUFFERS: self.model.read_buffers()})

    def poison(self):
        """The same problem with a NaN in every batch."""
        columns = self.shard.columns()
        bad = {**columns, "image": torch.full_like(columns["image"], torch.nan)}
        return Problem("a", TASK, self.model, Shard(bad, val_fraction=0.0, seed=0), lambda: False)

    def reference(self, optimizer, *, max_grad_norm=None, rounds=1, **batches):
        """Delta of an ordinary module after the same batches; `optimizer` takes its parameters."""
        module = build()
        stepper = optimizer(module.parameters())
        for index in range(1, rounds + 1):
            for batch in self.problem.batches(Round(index, 7, 0, {}), **batches):
                stepper.zero_grad()
                TASK.loss(module, batch).backward()
                if max_grad_norm is not None:
                    torch.nn.utils.clip_grad_norm_(module.parameters(), max_grad_norm)
                stepper.step()
        return torch.cat([p.detach().reshape(-1) for p in module.parameters()]) - self.params


@pytest.fixture
def bench():
    return Bench(Exchange())


@pytest.fixture
def private_head():
    return Bench(Exchange(exclude=("6.*",)))
