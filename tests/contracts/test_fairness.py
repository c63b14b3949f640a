"""What fairness rules are for: three agents alike and one that is not, in one dimension, where all is known."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc

from .support import Quadratic, experiment, full_batch, train

ALONE = 4.0  # the minimum of the fourth agent; that of the others is at 0


def ends(learner, rule, *, minima=(0.0, 0.0, 0.0, ALONE), rounds=40):
    """Where the parameter is in the end; each agent's loss is (w - its minimum)^2 / 2."""
    agents = [
        rc.Agent(f"agent-{i}", rc.data.Arrays({"x": torch.tensor([[m]]), "a": torch.ones(1, 1)}), learner)
        for i, m in enumerate(minima)
    ]
    agents = [replace(agent, val_fraction=0.0) for agent in agents]
    test = rc.data.Arrays({"x": torch.zeros(1, 1), "a": torch.ones(1, 1)})
    seldom = {"run": {"eval_every": rounds}, "checkpoint": rc.CheckpointConfig(every=rounds)}
    return float(train(experiment(agents, rule, task=Quadratic(1), test=test, rounds=rounds, **seldom)).params)


SGD = rc.SGD(**full_batch(0.5, 1))


def test_the_mean_serves_the_many():
    assert ends(SGD, rc.Mean()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("q", [1.0, 4.0])
def test_q_fedavg_ends_where_its_objective_is_least(q):
    """3 w^(2q+1) = (4 - w)^(2q+1): w = 4 / (1 + 3^(1/(2q+1))), that is 1.64 and 1.88; equal losses are at 2."""
    expected = ALONE / (1 + 3 ** (1 / (2 * q + 1)))
    assert ends(rc.StartLoss(SGD), rc.QFedAvg(q, lr=0.5), rounds=80) == pytest.approx(expected, abs=0.02)


def test_agnostic_ends_where_the_largest_loss_is_least():
    assert ends(rc.StartLoss(SGD), rc.AgnosticFL(lr=0.02), rounds=120) == pytest.approx(ALONE / 2, abs=0.02)


def test_fedmgda_stops_where_nobody_gains_without_somebody_losing():
    """From 0 all directions are the same, until a step of .25 has crossed the first minimum at 1.125: none after it."""
    assert ends(SGD, rc.FedMGDA(lr=0.25), minima=(1.125, 4.0, 4.0), rounds=12) == pytest.approx(1.25, abs=1e-5)
    assert ends(SGD, rc.Mean(), minima=(1.125, 4.0, 4.0)) == pytest.approx(3.04, abs=0.02)
