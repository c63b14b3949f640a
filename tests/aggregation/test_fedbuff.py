import pytest
import torch

from raycollab.aggregation import FedBuff, Mean, add_up
from raycollab.errors import ConfigError
from raycollab.spec import Coverage, Segments
from raycollab.types import Round, Update

PARAMS = torch.zeros(2)
ROUND = Round(1, 0, 0, {"params": PARAMS})


def merged(rule, *updates):
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, rule.init(PARAMS), PARAMS, seed=0)[0].vectors


def of(weight, discount, *values, **vectors):
    return Update("a", weight, {"delta": torch.tensor(values), **vectors}, discount=discount)


def test_by_hand():
    """(1 * [2, 0] + 0.5 * [4, 8]) / 2 = [2, 2]; the mean divides by 1.5: [8/3, 8/3]. Weights count for nothing."""
    some = of(9.0, 1.0, 2.0, 0.0), of(1.0, 0.5, 4.0, 8.0)
    assert merged(FedBuff(), *some)["delta"].tolist() == [2.0, 2.0]
    assert merged(FedBuff(lr=0.1), *some)["delta"].tolist() == pytest.approx([0.2, 0.2])
    assert merged(Mean("uniform"), *some)["delta"].tolist() == pytest.approx([8 / 3, 8 / 3])


def test_a_single_stale_update_makes_a_shorter_step_and_a_mean_does_not():
    stale = of(1.0, 0.5, 4.0, 8.0)
    assert merged(FedBuff(), stale)["delta"].tolist() == [2.0, 4.0]
    assert merged(Mean(), stale)["delta"].tolist() == [4.0, 8.0]


def test_without_discounts_it_is_the_uniform_mean():
    some = [of(float(i), 1.0, *torch.randn(2).tolist()) for i in (1, 2, 3)]
    torch.testing.assert_close(merged(FedBuff(), *some), merged(Mean("uniform"), *some))


def test_buffers_are_discounted_but_know_no_learning_rate():
    stale = of(1.0, 0.5, 1.0, 1.0, buffers=torch.tensor([8.0]))
    assert merged(FedBuff(lr=0.1), stale)["buffers"].tolist() == [4.0]


def test_elements_are_divided_by_how_many_sent_them():
    half = Coverage(Segments(2, ((1, 2),)), Segments.all(0))
    part = Update("b", 1.0, {"delta": torch.tensor([6.0])}, discount=0.5, coverage=half)
    assert merged(FedBuff(), of(1.0, 1.0, 2.0, 1.0), part)["delta"].tolist() == [2.0, (1.0 + 3.0) / 2]


@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan")])
def test_refuses(lr):
    with pytest.raises(ConfigError, match=f"FedBuff.lr={lr}: must be > 0"):
        FedBuff(lr)
