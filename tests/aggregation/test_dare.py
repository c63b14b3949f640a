import pytest
import torch

from raycollab.aggregation import AgnosticFL, Dare, FedDyn, FisherMean, Krum, Mean, Median, Stack, WeightedSum, add_up
from raycollab.errors import ConfigError
from raycollab.types import Round, Update

D = 10_000


def of(name, **vectors):
    return Update(name, 1.0, {"delta": torch.full((D,), 3.0), **vectors}, {"start_loss": 1.0})


def merged(rule, *updates, index=1):
    total = add_up(rule.collect(update, Round(index, 7, 0, {})) for update in updates)
    return rule.update(total, rule.init(torch.zeros(D)), torch.zeros(D), seed=0)[0].vectors


def test_elements_are_dropped_or_scaled_up():
    """Of one agent alone: 0 or 3 / (1 - .75) = 12, a quarter of them, within 5 standard deviations of 43."""
    found = merged(Dare(0.75), of("a"))["delta"]
    assert set(found.tolist()) == {0.0, 12.0}
    assert abs(int((found > 0).sum()) - 2500) < 220


def test_elements_keep_their_expectation():
    """Mean over 100 agents: standard deviation 3 / 10 an element, and 3 / 1000 over all elements."""
    found = merged(Dare(0.5), *(of(f"agent-{i}") for i in range(100)))["delta"]
    assert float(found.mean()) == pytest.approx(3.0, abs=0.015)
    assert float(found.std()) == pytest.approx(0.3, rel=0.05)


def test_what_is_dropped_depends_on_agent_and_round_alone():
    rule = Dare(0.5)
    first = merged(rule, of("a"))["delta"]
    assert torch.equal(first, merged(rule, of("a"))["delta"])
    for other in (merged(rule, of("b"))["delta"], merged(rule, of("a"), index=2)["delta"]):
        assert 0.4 < float((first == other).float().mean()) < 0.6


def test_the_updates_own_tensors_and_other_vectors_stay():
    update = of("a", buffers=torch.arange(50.0))
    found = merged(Dare(0.9), update)
    assert update.vectors["delta"].tolist() == [3.0] * D
    assert torch.equal(found["buffers"], update.vectors["buffers"])


def test_without_dropping_it_is_the_rule():
    updates = [of("a"), of("b")]
    assert torch.equal(merged(Dare(0.0, Median()), *updates)["delta"], merged(Median(), *updates)["delta"])
    assert Dare(0.0, Median()).laws == Median().laws
    assert Dare(0.5, Median()).laws == frozenset()
    assert Dare(0.5).laws == frozenset()  # equal agents draw apart


def test_it_asks_for_what_its_rule_does():
    assert Dare(0.5).partial is WeightedSum
    assert Dare(0.5, Median()).partial is Stack
    assert Dare(0.5, FisherMean()).needs == ("fisher",)
    assert Dare(0.5, Krum(f=2)).min_updates == Krum(f=2).min_updates > 1
    assert not Dare(0.5, FedDyn()).takes_discounts
    assert Dare(0.5, AgnosticFL(0.1)).tells({"shares": {"a": 2.0}}) == {"lambda/a": 2.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drop": 1.0}, r"Dare\.drop=1\.0: must be in \[0, 1\)"),
        ({"drop": -0.1}, r"Dare\.drop=-0\.1: must be in \[0, 1\)"),
        ({"drop": 0.5, "rule": Mean}, r"Dare\.rule=<class .*Mean'>: must be an Aggregator, such as Mean\(\)"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Dare(**settings)
