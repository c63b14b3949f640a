"""SCAFFOLD: a learner reads a second broadcast vector, sends its difference, and remembers its own."""

import pytest
import torch

import raycollab as rc

from .support import full_batch, gradient, quadratics, train


def reference(columns, sampled, *, lr, steps):
    """Algorithm 1 as it is written: all x_i, c_i and c by name."""
    x, c = torch.zeros(4), torch.zeros(4)
    own = [torch.zeros(4) for _ in columns]
    for chosen in sampled:
        moved, changed = [], []
        for i in chosen:
            y = x.clone()
            for _ in range(steps):
                y = y - lr * (gradient(columns[i], y) - own[i] + c)
            after = own[i] - c + (x - y) / (steps * lr)
            moved.append(y - x)
            changed.append(after - own[i])
            own[i] = after
        x = x + torch.stack(moved).mean(0)
        c = c + torch.stack(changed).mean(0) * len(chosen) / len(columns)
    return x, c, own


@pytest.mark.parametrize("per_round", [4, 2])
def test_scaffold_is_algorithm_1(per_round):
    """Also when half of the agents are sampled, where an agent's control is older than the last round."""
    chain = (rc.Mean(weights="uniform"),)
    experiment, columns = quadratics(
        [3, 5, 2, 4], rc.Scaffold(rc.SGD(**full_batch(0.1, 3))), *chain, rounds=6, run={"agents_per_round": per_round}
    )
    done = train(experiment)
    sampled = [[int(agent.agent[-1]) for agent in report.agents] for report in done.reports]
    x, c, own = reference(columns, sampled, lr=0.1, steps=3)
    torch.testing.assert_close(done.params, x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(done.driver.vectors["control"], c, rtol=1e-5, atol=1e-5)
    for i, control in enumerate(own):
        if any(i in chosen for chosen in sampled):
            remembered = done.remembered(f"agent-{i}")["learner"]["control"]
            torch.testing.assert_close(remembered, control, rtol=1e-5, atol=1e-5)


def test_control_variates_remove_the_drift_that_sgd_has():
    """The known-bad input: plain local SGD with as many local steps settles elsewhere than at the common minimum."""
    found = {}
    for learner in (rc.Scaffold(rc.SGD(**full_batch(0.2, 10))), rc.SGD(**full_batch(0.2, 10))):
        experiment, columns = quadratics([3, 5, 2, 4], learner, rc.Mean(weights="uniform"), rounds=60)
        found[type(learner)] = train(experiment).params
    best = sum((c["a"] * c["x"]).mean(0) for c in columns) / sum(c["a"].mean(0) for c in columns)
    assert (found[rc.Scaffold] - best).norm() < 1e-3
    assert (found[rc.SGD] - best).norm() > 1e-2
