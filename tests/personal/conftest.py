"""A problem of 20 images, with everything exchanged or with a private head, and runs whose steps see all examples."""

import pytest
import torch

import raycollab as rc
from raycollab.params import Exchange

from ..contracts.support import full_batch, quadratics, train
from ..learners.conftest import Bench

SIZES = [3, 5, 2]
MEAN = rc.Mean("uniform")


@pytest.fixture
def bench():
    return Bench(Exchange())


@pytest.fixture
def private_head():
    return Bench(Exchange(exclude=("6.*",)))


def steps(lr=0.1, count=3):
    """SGD that takes this many steps over all examples."""
    return rc.SGD(**full_batch(lr, count))


def trained(learner, *chain, rounds=4, **settings):
    """A run of three agents with quadratics of their own, and their columns."""
    experiment, columns = quadratics(SIZES, learner, *(chain or (MEAN,)), rounds=rounds, **settings)
    return train(experiment), columns


def rounds_of(agents, count=4):
    """The common parameters after rounds of `agents`: functions that return what each sends, given the parameters."""
    w = torch.zeros(4)
    for _ in range(count):
        w = w + torch.stack([agent(w) for agent in agents]).mean(0)
    return w


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
