"""Reddi et al., Algorithm 2, by hand in plain Python floats; the tolerance is that of float32."""

import math

import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.transforms import FedAdagrad, FedAdam, FedYogi

DELTAS = [0.3, -0.7, 0.02, 0.9]


def walk(rule, deltas):
    params = torch.zeros(1)
    state, steps = rule.init(params), []
    for delta in deltas:
        step, state = rule.update(torch.tensor([delta]), state, params, seed=0)
        steps.append(step.item())
    return steps


def reference(second, deltas, *, lr, beta1, tau):
    m, v, steps = 0.0, tau**2, []
    for delta in deltas:
        m = beta1 * m + (1 - beta1) * delta
        v = second(v, delta)
        steps.append(lr * m / (math.sqrt(v) + tau))
    return steps


@pytest.mark.parametrize(
    ("kind", "settings", "second"),
    [
        (FedAdagrad, {}, lambda v, d: v + d**2),
        (FedAdam, {"beta2": 0.9}, lambda v, d: 0.9 * v + 0.1 * d**2),
        (FedYogi, {"beta2": 0.9}, lambda v, d: v - 0.1 * d**2 * math.copysign(1, v - d**2)),
    ],
)
def test_is_algorithm_2(kind, settings, second):
    common = {"lr": 0.5, "beta1": 0.8, "tau": 0.01}
    found = walk(kind(**common, **settings), DELTAS)
    assert found == pytest.approx(reference(second, DELTAS, **common), rel=1e-5)


def test_by_hand():
    """Adagrad, tau = 3, lr = 1: v = 9 + 16, so the step is 4 / (5 + 3)."""
    assert walk(FedAdagrad(lr=1.0, tau=3.0), [4.0]) == [0.5]


def test_adam_is_torchs_but_for_its_corrections():
    """torch divides m by 1 - beta1^t and v by 1 - beta2^t; undone, and from v = tau^2 near 0, the steps agree."""
    beta1, beta2, tau = 0.9, 0.99, 1e-6
    ours = walk(FedAdam(lr=0.1, beta1=beta1, beta2=beta2, tau=tau), DELTAS)
    for t, step in enumerate(ours, 1):
        m = sum((1 - beta1) * beta1 ** (t - 1 - i) * delta for i, delta in enumerate(DELTAS[:t]))
        v = sum((1 - beta2) * beta2 ** (t - 1 - i) * delta**2 for i, delta in enumerate(DELTAS[:t]))
        assert step == pytest.approx(0.1 * m / math.sqrt(v), rel=1e-4)
        parameter = torch.zeros(1)
        optimizer = torch.optim.Adam([parameter], lr=0.1, betas=(beta1, beta2), eps=0)
        for delta in DELTAS[:t]:
            before = parameter.clone()
            parameter.grad = torch.tensor([-delta])
            optimizer.step()
        corrected = (parameter - before).item() * (1 - beta1**t) / math.sqrt(1 - beta2**t)
        assert step == pytest.approx(corrected, rel=1e-4)


def test_yogi_forgets_slower_than_adam():
    """After one large delta, many small ones: Adam's v falls by a factor each time, Yogi's by a difference."""
    params = torch.zeros(1)
    found = {}
    for rule in (FedAdam(beta2=0.5), FedYogi(beta2=0.5)):
        state = rule.init(params)
        for delta in (1.0, 1e-3, 1e-3, 1e-3):
            _, state = rule.update(torch.tensor([delta]), state, params, seed=0)
        found[type(rule)] = state["second"].item()
    assert found[FedAdam] == pytest.approx(0.5 / 8, rel=1e-3)
    assert found[FedYogi] == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("kind", [FedAdagrad, FedAdam, FedYogi])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr=0.0: must be > 0"),
        ({"lr": float("inf")}, "lr=inf: must be > 0 and finite"),
        ({"tau": float("inf")}, "tau=inf: must be > 0 and finite"),
        ({"tau": 0.0}, "tau=0.0: must be > 0"),
        ({"beta1": 1.0}, r"beta1=1.0: must be in \[0, 1\)"),
    ],
)
def test_refuses(kind, settings, message):
    with pytest.raises(ConfigError, match=rf"{kind.__name__}\.{message}"):
        kind(**settings)


@pytest.mark.parametrize("kind", [FedAdam, FedYogi])
def test_refuses_beta2(kind):
    with pytest.raises(ConfigError, match=rf"{kind.__name__}\.beta2=-0\.1: must be in \[0, 1\)"):
        kind(beta2=-0.1)
