import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.errors import ConfigError, ModelError
from raycollab.meta import ANIL, FOMAML, MAML, Functional, PartyTask

from .conftest import CURVES

ONE = {"tasks": PartyTask(3, 4), "episodes": 1}


@pytest.mark.parametrize("learner", [MAML(lr=0.1, steps=2, **ONE), FOMAML(lr=0.1, steps=2, **ONE)], ids=repr)
@pytest.mark.parametrize("traced", [False, True])
def test_closed_form_on_a_quadratic(quadratic, learner, traced):
    """With gradient a (w - c): w' - c_s = (1 - lr a)^k (w - c_s), so the query's gradient by w' is a (w' - c_q), and by
    w it is (1 - lr a)^k times that; the first order leaves the factor out.
    """
    episode = quadratic.episode(learner)
    support, query = (part["features"].mean(0) for part in episode)
    loss, gradient = learner.outer_gradient(quadratic.functional(traced=traced), quadratic.start, episode)
    shrunk = (1 - 0.1 * CURVES) ** 2
    end = support + shrunk * (quadratic.start["w"] - support)
    expected = CURVES * (end - query) * (shrunk if learner.order == 2 else 1)
    torch.testing.assert_close(gradient["w"], expected, rtol=1e-12, atol=1e-12)
    assert loss.item() == pytest.approx(((CURVES * (end - episode[1]["features"]) ** 2).sum(1).mean() / 2).item())


@pytest.mark.parametrize("traced", [False, True])
def test_equals_autograd_through_the_unrolled_loop(curved, traced):
    """Plain torch on the same net written out by hand, in float64."""
    learner = MAML(lr=0.3, steps=3, **ONE)
    support, query = curved.episode(learner)
    _, gradient = learner.outer_gradient(curved.functional(traced=traced), curved.start, (support, query))
    start = torch.cat([tensor.reshape(-1) for tensor in curved.start.values()]).requires_grad_()

    def loss(w, batch):
        a, b, gain, shift, c, d = w.split([8, 4, 4, 4, 4, 1])
        hidden = torch.tanh(batch["features"] @ a.view(4, 2).T + b)
        spread = (hidden.var(0, unbiased=False) + 1e-5).sqrt()
        normed = (hidden - hidden.mean(0)) / spread * gain + shift
        return (normed @ c + d - batch["label"]).square().mean()

    w = start
    for _ in range(3):
        w = w - 0.3 * torch.autograd.grad(loss(w, support), w, create_graph=True)[0]
    (expected,) = torch.autograd.grad(loss(w, query), start)
    found = torch.cat([tensor.reshape(-1) for tensor in gradient.values()])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("traced", [False, True])
def test_equals_finite_differences(curved, traced):
    """Central differences of the query's loss after adaptation, in float64, to 1e-6."""
    learner = MAML(lr=0.3, steps=2, **ONE)
    support, query = curved.episode(learner)
    model, start = curved.functional(traced=traced), curved.start
    _, gradient = learner.outer_gradient(model, start, (support, query))
    for name, tensor in start.items():
        for place in range(tensor.numel()):
            ends = []
            for sign in (1, -1):
                moved = {other: each.clone() for other, each in start.items()}
                moved[name].view(-1)[place] += sign * 1e-5
                ends.append(model.loss(learner.adapt(model, moved, support), query).item())
            found = gradient[name].reshape(-1)[place].item()
            assert found == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-6)


def test_the_delta_is_minus_the_gradient(curved):
    """With one outer step at a rate of 1, in the float32 of the wire."""
    learner = MAML(lr=0.3, **ONE)
    _, gradient = learner.outer_gradient(curved.functional(), curved.start, curved.episode(learner))
    expected = torch.cat([-tensor.reshape(-1).float() for tensor in gradient.values()])
    torch.testing.assert_close(curved.update(learner).vectors["delta"], expected, rtol=1e-4, atol=1e-6)


def test_batchnorm_that_keeps_statistics_is_refused(curved):
    """They would stay where they began, and the model's predictions would use them."""
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    with pytest.raises(ModelError, match=r"1: BatchNorm1d keeps running statistics, .*track_running_stats=False"):
        Functional(curved.task, net)


def test_anil_adapts_the_head_alone(curved):
    """Inner steps leave the body; the outer ones move it."""
    learner = ANIL(lr=0.3, head=("3.*",), **ONE)
    model, start = curved.functional(), curved.start
    adapted = learner.adapt(model, start, curved.episode(learner)[0])
    assert {name for name in start if not torch.equal(start[name], adapted[name])} == {"3.weight", "3.bias"}
    assert curved.update(learner).vectors["delta"][:8].any()
    with pytest.raises(ModelError, match=r"ANIL: \('top\.\*',\) matches no trainable parameter; there are: 0\.weight"):
        ANIL(lr=0.3, head="top.*").adapt(model, start, curved.episode(learner)[0])


def test_factors_on_the_inner_rate(curved):
    """The first pattern that matches decides: none for the body is ANIL, and half is half the rate."""
    learner = MAML(lr=0.3, factors={"3.bias": 0.5, "3.*": 1.0, "*": 0.0}, **ONE)
    model, start, episode = curved.functional(), curved.start, curved.episode(learner)
    anil = ANIL(lr=0.3, head=("3.*",), **ONE)
    ours, theirs = (each.adapt(model, start, episode[0]) for each in (learner, anil))
    ours, theirs = ({name: each[name] - tensor for name, tensor in start.items()} for each in (ours, theirs))
    expected = {**theirs, "3.bias": 0.5 * theirs["3.bias"]}
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    assert theirs["3.bias"].any()
    assert not ours["0.weight"].any()


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 4)

    def forward(self, features):
        x = self.layer(features).view(1, 1, -1, 4)
        return nn.functional.scaled_dot_product_attention(x, x, x).view(-1, 4).sum(1)


@pytest.mark.parametrize("vectorised", [False, True])
def test_an_operation_without_second_derivative_is_named(vectorised):
    """Fused attention on the CPU has only a first one; the first order needs no other."""
    task = rc.Regression(rc.models.Module(Attention))
    columns = {"features": torch.randn(20, 2), "label": torch.zeros(20)}
    model = Functional(task, Attention(), traced=vectorised)
    episode = ({name: c[:5] for name, c in columns.items()}, {name: c[5:] for name, c in columns.items()})
    with pytest.raises(ModelError, match=r"no second derivative: .*attention.* is not implemented.*; take first order"):
        MAML(lr=0.1, **ONE).outer_gradient(model, model.params(), episode)
    loss, _ = FOMAML(lr=0.1, **ONE).outer_gradient(model, model.params(), episode)
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, r"MAML\.lr=0\.0: must be > 0 and finite"),
        ({"lr": 0.1, "factors": {"3.*": -1.0}}, r"MAML\.factors\['3\.\*'\]=-1\.0: must be >= 0 and finite"),
        ({"lr": 0.1, "factors": {"3.*": "slow"}}, r"MAML\.factors\['3\.\*'\]='slow': must be >= 0 and finite"),
        ({"lr": 0.1, "factors": 0.5}, r"MAML\.factors=0\.5: must be factors by patterns"),
        ({"lr": 0.1, "steps": -1}, r"MAML\.steps=-1: must be >= 0"),
        ({"lr": 0.1, "order": 3}, r"MAML\.order=3: must be 1 or 2"),
        ({"lr": 0.1, "episodes": 0}, r"MAML\.episodes=0: must be >= 1"),
        ({"lr": 0.1, "max_dropped": 1}, r"MAML\.max_dropped=1: must be in \[0, 1\)"),
        ({"lr": 0.1, "tasks": None}, r"MAML\.tasks=None: must be Episodes, such as PartyTask"),
        ({"lr": 0.1, "outer": 0.1}, r"MAML\.outer=0\.1: must be a LocalLearner, such as SGD"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        MAML(**settings)


def test_bad_settings_of_its_kin():
    with pytest.raises(ConfigError, match=r"FOMAML\.order=2: must be 1; MAML takes 2"):
        FOMAML(lr=0.1, order=2)
    with pytest.raises(ConfigError, match=r"ANIL\.head=\(\): must be patterns of names"):
        ANIL(lr=0.1, head=())
