"""pFedMe against Algorithm 1 with full batches."""

import pytest

import raycollab as rc

from ..contracts.support import gradient
from .conftest import close, rounds_of, steps, trained


class Reference:
    def __init__(self, columns, mu, lr, theta_lr, inner, count):
        self.columns, self.mu, self.lr, self.theta_lr, self.inner, self.count = columns, mu, lr, theta_lr, inner, count

    def __call__(self, start):
        w, theta = start.clone(), start.clone()
        for step in range(1, self.count + 1):
            theta = theta - self.theta_lr * (gradient(self.columns, theta) + self.mu * (theta - w))
            if step % self.inner == 0 or step == self.count:
                w = w - self.lr * self.mu * (w - theta)
        self.theta = theta
        return w - start


@pytest.mark.parametrize(("inner", "count"), [(2, 4), (2, 5), (3, 3), (5, 2)])
def test_is_algorithm_1(inner, count):
    """Also where the last steps of theta are fewer than K: w follows them too."""
    done, columns = trained(rc.PFedMe(steps(0.1, count), mu=2.0, inner_steps=inner, lr=0.3))
    agents = [Reference(held, 2.0, 0.3, 0.1, inner, count) for held in columns]
    close(done.params, rounds_of(agents))
    for index, agent in enumerate(agents):
        close(done.remembered(f"agent-{index}")["learner"]["own"]["w"], agent.theta)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mu": 0.0}, r"PFedMe\.mu=0\.0: must be > 0 and finite"),
        ({"inner_steps": 0}, r"PFedMe\.inner_steps=0: must be >= 1"),
        (
            {"mu": 2.0, "lr": 0.6},
            r"PFedMe\.lr=0\.6: must be in \(0, 1 / mu\], with mu=2\.0: beyond, w",
        ),
        ({"lr": 0.0}, r"PFedMe\.lr=0\.0: must be in"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(rc.ConfigError, match=message):
        rc.PFedMe(rc.SGD(), **settings)
