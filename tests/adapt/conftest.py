"""A small net with BatchNorm and 64 rows, and rounds for it."""

import pytest
import torch
from torch import nn

from raycollab.data import Shard
from raycollab.models import Module
from raycollab.params import Exchange, FlatModel
from raycollab.spec import BUFFERS, PARAMS
from raycollab.task import Problem
from raycollab.tasks import Classification
from raycollab.types import Round


def normed(width=6):
    """Linear, BatchNorm, ReLU, head."""
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 3))


TASK = Classification(Module(normed, {}), 3)


def rows(count=64, seed=1, shift=0.0, turn=0):
    """Three classes by where a row is; `turn` renames them."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 3
    features = torch.randn(count, 4, generator=generator) * 0.3 + torch.eye(4)[label] * 2 + shift
    return {"features": features, "label": (label + turn) % 3}


class Bench:
    """A problem of 64 rows, whose data can change."""

    def __init__(self, exchange=None, task=TASK):
        torch.manual_seed(0)
        self.model = FlatModel(task.model(), exchange or Exchange())
        self.task = task
        self.vectors = {PARAMS: self.model.read(), BUFFERS: self.model.read_buffers()}
        self.problem = self.with_rows(rows())

    def with_rows(self, columns):
        self.problem = Problem("a", self.task, self.model, Shard(columns, val_fraction=0.0, seed=0), lambda: False)
        return self.problem

    def round(self, index=1, **scalars):
        return Round(index, 7, index - 1, dict(self.vectors), scalars)

    def steps(self, learner, rounds, state=None, first=1, **scalars):
        """Rounds one after another, alone: the update is added to the common vectors. Returns updates and the state."""
        state, updates = learner.init(self.vectors[PARAMS]) if state is None else state, []
        for index in range(first, first + rounds):
            update, state = learner.update(self.problem, self.vectors[PARAMS], state, self.round(index, **scalars))
            updates.append(update)
            for entries, name, moved in (
                (self.model.spec.params, PARAMS, "delta"),
                (self.model.spec.buffers, BUFFERS, BUFFERS),
            ):
                if moved not in update.vectors:
                    continue
                change = update.vectors[moved].clone()
                for entry in entries:
                    if entry.name in update.withheld:
                        change[entry.offset : entry.stop] = 0
                self.vectors[name] = self.vectors[name] + change
        return updates, state


@pytest.fixture
def bench():
    return Bench()
