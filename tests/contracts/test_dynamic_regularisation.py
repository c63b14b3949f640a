"""FedDyn: two terms at the agents and a sum of drifts at the driver make local minima agree with the common one."""

import pytest
import torch

import raycollab as rc

from .support import full_batch, gradient, quadratics, train

SIZES = [3, 5, 2, 4]


def reference(columns, sampled, *, alpha, lr, steps):
    """Algorithm 1 as it is written, with h of the driver, and gradient steps in the place of the exact minimum."""
    theta, h = torch.zeros(4), torch.zeros(4)
    own = [torch.zeros(4) for _ in columns]
    for chosen in sampled:
        ends = []
        for k in chosen:
            w = theta.clone()
            for _ in range(steps):
                w = w - lr * (gradient(columns[k], w) - own[k] + alpha * (w - theta))
            own[k] = own[k] - alpha * (w - theta)
            ends.append(w)
        h = h - alpha * sum(w - theta for w in ends) / len(columns)
        theta = torch.stack(ends).mean(0) - h / alpha
    return theta, h, own


@pytest.mark.parametrize("per_round", [4, 2])
def test_feddyn_is_algorithm_1(per_round):
    """Also when half of the agents are sampled: the driver's h moves by the sampled share of all agents."""
    alpha, rounds = 0.8, 6
    learner = rc.Dyn(rc.SGD(**full_batch(0.2, 5)), alpha)
    experiment, columns = quadratics(SIZES, learner, rc.FedDyn(), rounds=rounds, run={"agents_per_round": per_round})
    done = train(experiment)
    sampled = [[int(agent.agent[-1]) for agent in report.agents] for report in done.reports]
    theta, h, own = reference(columns, sampled, alpha=alpha, lr=0.2, steps=5)
    torch.testing.assert_close(done.params, theta, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        done.driver.state_dict()["chain"]["aggregator"]["drift"], h / alpha, rtol=1e-5, atol=1e-5
    )
    for k in {k for chosen in sampled for k in chosen}:
        remembered = done.remembered(f"agent-{k}")["learner"]["gradient"]
        torch.testing.assert_close(remembered, own[k], rtol=1e-5, atol=1e-5)


def test_feddyn_finds_the_common_minimum_where_fedavg_does_not():
    """The known-bad input: as many plain local steps under the mean settle elsewhere."""
    sgd = rc.SGD(**full_batch(0.2, 10))
    found = {}
    for name, learner, rule in (
        ("feddyn", rc.Dyn(sgd, 0.5), rc.FedDyn()),
        ("fedavg", sgd, rc.Mean("uniform")),
    ):
        experiment, columns = quadratics(SIZES, learner, rule, rounds=80)
        found[name] = train(experiment).params
    best = sum((c["a"] * c["x"]).mean(0) for c in columns) / sum(c["a"].mean(0) for c in columns)
    assert (found["feddyn"] - best).norm() < 1e-3
    assert (found["fedavg"] - best).norm() > 1e-2


def test_fedsgd_with_a_rate_on_the_driver_is_gradient_descent():
    """Weighted by examples, a round is one step on the loss over all examples together."""
    step = rc.ServerOptimizer("SGD", {"lr": 0.3})
    experiment, columns = quadratics(SIZES, rc.FedSGD(batch_size=2), rc.Mean(), step, rounds=5)
    together = {name: torch.cat([held[name] for held in columns]) for name in ("a", "x")}
    w = torch.zeros(4)
    for _ in range(5):
        w = w - 0.3 * gradient(together, w)
    torch.testing.assert_close(train(experiment).params, w, rtol=1e-5, atol=1e-6)
