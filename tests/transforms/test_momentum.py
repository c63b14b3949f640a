import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.transforms import Momentum


def walk(rule, deltas):
    params = torch.zeros(1)
    state, steps = rule.init(params), []
    for delta in deltas:
        before = state["velocity"].clone()
        step, after = rule.update(torch.tensor([delta]), state, params, seed=0)
        assert torch.equal(state["velocity"], before)
        state = after
        steps.append(step.item())
    return steps


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        (Momentum(0.0), [1.0, 2.0, 4.0]),
        (Momentum(0.5), [1.0, 2.5, 5.25]),  # v: 1, 0.5 + 2, 1.25 + 4
        (Momentum(0.5, lr=2.0), [2.0, 5.0, 10.5]),
        (Momentum(0.5, nesterov=True), [1.5, 3.25, 6.625]),  # delta + v / 2
    ],
)
def test_by_hand(rule, steps):
    assert walk(rule, [1.0, 2.0, 4.0]) == steps


@pytest.mark.parametrize("nesterov", [False, True])
def test_equals_torch(nesterov):
    """A step against a gradient of -delta. Tolerance: torch may fuse a multiply with an add."""
    deltas = [0.3, -0.7, 0.2, 0.9]
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.7, momentum=0.9, nesterov=nesterov)
    for delta in deltas:
        parameter.grad = torch.tensor([-delta])
        optimizer.step()
    assert sum(walk(Momentum(0.9, lr=0.7, nesterov=nesterov), deltas)) == pytest.approx(parameter.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 1.0}, r"Momentum.beta=1.0: must be in \[0, 1\)"),
        ({"beta": -0.1}, "beta"),
        ({"lr": 0.0}, "Momentum.lr=0.0: must be > 0"),
        ({"lr": float("inf")}, "Momentum.lr=inf: must be > 0 and finite"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Momentum(**settings)
