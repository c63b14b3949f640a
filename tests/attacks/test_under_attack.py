"""The wrapper around a rule: with nothing forged it is the rule, bit for bit, and it passes on all that a rule has."""

from dataclasses import dataclass, field, replace

import pytest
import torch

import raycollab as rc
from raycollab.attacks.under_attack import UnderAttack

from ..contracts.rows import AGGREGATORS, instances, sender, short
from ..contracts.support import ONE_STEP, Training, digits

PARAMS = torch.zeros(3)


@dataclass(frozen=True)
class Harmless(rc.attacks.Collusion):
    """Knows everything and does nothing."""

    name = "harmless"

    def forge(self, honest, num_bad, chosen):
        raise AssertionError("nobody is bad")


@dataclass(frozen=True)
class Sees(rc.attacks.Collusion):
    """Sends what it was given, as a check of it."""

    name = "sees"
    seen: list = field(default_factory=list)

    def forge(self, honest, num_bad, chosen):
        self.seen.append((torch.stack(honest.vectors), num_bad, chosen))
        return torch.full_like(honest.vectors[0], 7.0)


def update(name, value, **vectors):
    delta = torch.full((3,), value)
    return rc.Update(name, 1.0, {"delta": delta, **vectors}, {"effective_steps": 1.0})


def merged(rule, *updates, state=None):
    total = rc.Stack()
    for each in updates:
        total = total + rule.collect(each, rc.Round(1, 0, 0, {}))
    return rule.update(total, state or rule.init(PARAMS), PARAMS, seed=0)


@pytest.mark.parametrize("rule", [rule for rule in instances(AGGREGATORS) if not rule.hides_updates], ids=short)
def test_a_rule_without_bad_agents_has_the_bits_of_the_rule(rule):
    plain = digits(sender(ONE_STEP, (rule,)), rule, rounds=3)
    wrapped = replace(
        plain,
        chain=(
            UnderAttack(rule, Harmless(), ("nobody",), tuple(agent.name for agent in plain.members()), plain.run.seed),
        ),
    )
    one, other = Training(plain).finish(), Training(wrapped).finish()
    assert not [failure for report in other.reports for failure in report.failures]
    assert torch.equal(one.params, other.params)


def test_what_the_bad_ones_see_and_what_is_replaced():
    sees = Sees()
    rule = UnderAttack(rc.Mean(), sees, ("c",), ("a", "b", "c"))
    found, _ = merged(rule, update("a", 1.0), update("b", 2.0), replace(update("c", 100.0), weight=2.0))
    ((honest, num_bad, chosen),) = sees.seen
    assert honest[:, 0].tolist() == [1.0, 2.0]
    assert (num_bad, chosen) == (1, 0)
    assert found.vectors["delta"].tolist() == [(1 + 2 + 2 * 7) / 4] * 3  # the weight that it claims stays


def test_only_vectors_that_everybody_brought_are_replaced():
    extra = torch.tensor([1.0, 2.0, 3.0])
    rule = UnderAttack(rc.Mean(), Sees(), ("c",), ("a", "b", "c"))
    found, _ = merged(rule, update("a", 1.0), update("c", 5.0, fisher=extra))
    assert found.vectors["fisher"].tolist() == extra.tolist()
    assert found.vectors["delta"].tolist() == [4.0] * 3


@pytest.mark.parametrize("present", [("a", "b"), ("c",)])
def test_a_round_of_only_one_side_is_left_as_it_is(present):
    sees = Sees()
    found, _ = merged(UnderAttack(rc.Mean(), sees, ("c",), ("a", "b", "c")), *(update(name, 5.0) for name in present))
    assert found.vectors["delta"].tolist() == [5.0] * 3
    assert not sees.seen


@dataclass(frozen=True)
class Counts(rc.Mean):
    """Tells how many rounds there were, and multiplies by it; records what `collect` is told."""

    told: list = field(default_factory=list)

    def init(self, params):
        return {"rounds": 0}

    def tells(self, state):
        return {"rounds": float(state["rounds"])}

    def collect(self, update, round):
        self.told.append((round.index, round.base_version, round.seed, dict(round.scalars), round.agents))
        return super().collect(update, round)

    def update(self, total, state, params, *, seed):
        found, _ = super().update(total, state, params, seed=seed)
        return found, {"rounds": state["rounds"] + 1}


def test_the_rule_is_told_of_the_round():
    """Index, version, seed, scalars and names are those that its collect would have had on the hosts."""
    inner = Counts()
    rule = UnderAttack(inner, Sees(), ("b",), ("a", "b", "c", "d"), seed=11)
    _, state = merged(rule, update("a", 1.0), update("b", 1.0))
    assert rule.tells(state) == {"rounds": 1.0}
    _, state = merged(rule, update("a", 1.0), update("b", 1.0), state=state)
    first, second = inner.told[0], inner.told[-1]
    assert first == (1, 0, 11, {"participation": 0.5, "rounds": 0.0}, ("a", "b"))
    assert second == (2, 1, 11, {"participation": 0.5, "rounds": 1.0}, ("a", "b"))
    assert state["rule"] == {"rounds": 2}


def test_the_rule_is_bound():
    @dataclass(frozen=True)
    class Bound(rc.Mean):
        num_params: int = 0

        def bind(self, spec):
            return replace(self, num_params=spec.num_params)

    made = Training(digits(ONE_STEP, Bound(), num_agents=3, attack=rc.Attack("ipm", num_agents=1)))
    assert made.driver._chain.aggregator.rule.num_params == made.params.numel()


def test_it_needs_what_the_rule_needs():
    assert UnderAttack(rc.FedNova(), Sees(), ("c",), ("a", "b", "c")).needs == ("effective_steps",)


@pytest.mark.parametrize(
    ("rule", "good", "bad", "message"),
    [
        (rc.Mean(), {"weight": 1.0}, {"weight": 0.0}, "the weights of 2 updates sum to 0"),
        (rc.GeometricMedian(), {"weight": 1.0}, {"weight": 0.0}, "GeometricMedian: the weights of 2 updates sum to 0"),
        (rc.FedDyn(), {"scalars": {"alpha": 0.5}}, {"scalars": {"alpha": 2.0}}, "with alpha 0.5, 2.0"),
        (rc.AdaptiveClip(), {"weight": 1.0}, {"weight": 0.0}, "the weights of 2 updates sum to 0"),
    ],
    ids=lambda value: short(value) if isinstance(value, rc.Aggregator) else "",
)
def test_what_the_rule_checks_is_checked_before_the_round_is_accepted(rule, good, bad, message):
    """Without looking at a forged vector: bad agents forge neither weights nor scalars."""
    attacked = UnderAttack(rule, Harmless(), ("b",), ("a", "b"))
    first = replace(update("a", 1.0), scalars={"alpha": 0.5})
    first = replace(first, weight=bad.get("weight", 1.0))
    others = [replace(replace(update("b", 2.0), scalars={"alpha": 0.5}), **changes) for changes in (good, bad)]
    accepted, refused = (attacked.collect(first, None) + attacked.collect(other, None) for other in others)
    attacked.check(accepted)
    with pytest.raises(rc.UpdateError, match=message):
        attacked.check(refused)
