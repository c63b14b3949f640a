import pytest
import torch

import raycollab as rc
from raycollab.errors import ConfigError, ModelError
from raycollab.meta import MetaSGD, PartyTask
from raycollab.models import MLP, WithRates
from raycollab.params import Exchange

from .conftest import CURVES, Bench, Point, Quadratic
from .test_base import learned


class Rated(Quadratic):
    def model(self):
        module = Point()
        module.register_parameter("rate/w", torch.nn.Parameter(torch.tensor([0.1, 0.2], dtype=torch.float64)))
        return module


def test_closed_form_on_a_quadratic():
    """w' = w - a g with g = h (w - c_s). By w: (1 - a h) h (w' - c_q); by a: -g h (w' - c_q)."""
    bench, learner = Bench(Rated()), MetaSGD(tasks=PartyTask(3, 4))
    episode = bench.episode(learner)
    support, query = (part["features"].mean(0) for part in episode)
    w, rate = bench.start["w"], bench.start["rate/w"]
    inner = CURVES * (w - support)
    outer = CURVES * (w - rate * inner - query)
    _, gradient = learner.outer_gradient(bench.functional(), bench.start, episode)
    torch.testing.assert_close(gradient["w"], (1 - rate * CURVES) * outer, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient["rate/w"], -inner * outer, rtol=1e-12, atol=1e-12)


def test_rates_are_exchanged_or_each_agents_own():
    """As Exchange says, by their names; the net computes what it did."""
    net, learner = WithRates(MLP(64, 3, hidden=(8,)), 0.05), MetaSGD(tasks=rc.FewShot(3, 2, 2))
    shared, model = learned(learner, net)
    own, private = learned(learner, net, exchange=Exchange(exclude=("rate/*",)))
    assert len(shared.vectors["delta"]) == 2 * len(own.vectors["delta"])
    moved = private.private()
    assert set(moved) == {"rate/1/weight", "rate/1/bias", "rate/3/weight", "rate/3/bias"}
    assert all(torch.equal(rate, model.module.get_parameter(name)) for name, rate in moved.items())
    assert (moved["rate/3/bias"] != 0.05).any()
    plain, rated, x = MLP(64, 3, hidden=(8,)).build(), net.build(), torch.randn(2, 64)
    rated.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(rated(x), plain(x))


def test_one_rate_a_tensor_and_random_ones():
    module = WithRates(MLP(4, 2, hidden=()), 0.1, per="tensor", high=0.2).build()
    rates = {name: p for name, p in module.named_parameters() if name.startswith("rate/")}
    assert [tuple(rate.shape) for rate in rates.values()] == [(), ()]
    assert all(0.1 <= rate.item() <= 0.2 for rate in rates.values())


def test_refuses():
    with pytest.raises(
        ModelError, match=r"MetaSGD: the net has no parameters rate/\*; wrap it in rc\.models\.WithRate"
    ):
        learned(MetaSGD(tasks=rc.FewShot(3, 1, 1)), MLP(64, 3))
    with pytest.raises(ConfigError, match=r"WithRates\.per='layer': must be 'element' or 'tensor'"):
        WithRates(MLP(4, 2), per="layer")
    with pytest.raises(ConfigError, match=r"WithRates\.high=0\.001: must be above initial=0\.01"):
        WithRates(MLP(4, 2), high=0.001)
