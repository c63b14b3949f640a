from dataclasses import dataclass, field, replace

import pytest
import torch

import raycollab as rc
from raycollab.aggregation import Bucketing, CenteredClip, GeometricMedian, Krum, Mean, Median, RowRule, TrimmedMean
from raycollab.errors import ConfigError, UpdateError
from raycollab.spec import Coverage, Segments

from ..contracts.support import ONE_STEP, Training, digits
from .support import delta, merged, randn, updates


@dataclass(frozen=True, kw_only=True)
class Sees(RowRule):
    """The first bucket; keeps what it was given."""

    seen: list = field(default_factory=list)

    def update(self, total, state, params, *, seed):
        self.seen.append(total.updates)
        return total.updates[0], state


def buckets(rows, size, **settings):
    rule = Bucketing(Sees(), size)
    merged(rule, updates(rows, **settings))
    return rule.rule.seen[0]


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(6, 2, [2, 2, 2]), (7, 3, [3, 3, 1]), (3, 5, [3]), (4, 1, [1] * 4)]
)
def test_every_update_is_in_one_bucket(count, size, sizes):
    """Rows are powers of two, so that each bucket's sum tells who is in it."""
    held = buckets([[2.0**i] for i in range(count)], size)
    sums = [round(float(bucket.vectors["delta"]) * n) for bucket, n in zip(held, sizes, strict=True)]
    assert sum(sums) == 2**count - 1
    assert [bin(total).count("1") for total in sums] == sizes


def test_a_mean_is_uniform_and_weighs_what_its_updates_weigh():
    (bucket,) = buckets([[0.0], [4.0]], 2, weights=[1.0, 3.0], buffers=[[1.0], [2.0]])
    assert bucket.vectors["delta"].tolist() == [2.0]
    assert bucket.vectors["buffers"].tolist() == [1.5]
    assert bucket.weight == 4.0


def test_discounts_and_scalars_reach_the_rule():
    """[0, 4] at discounts 1 and .25: (0 + .25 * 4) / 1.25; scalars too, where both have them."""
    fresh, stale = updates([[0.0], [4.0]])
    fresh = replace(fresh, scalars={"loss": 1.0, "alone": 7.0})
    stale = replace(stale, scalars={"loss": 6.0}, discount=0.25)
    rule = Bucketing(Sees(), 2)
    merged(rule, [fresh, stale])
    (bucket,) = rule.rule.seen[0]
    assert bucket.vectors["delta"].tolist() == pytest.approx([0.8])
    assert bucket.discount == 0.625
    assert bucket.scalars == pytest.approx({"loss": 2.0})


def test_stale_updates_count_for_less_in_buckets_as_they_do_outside():
    """Two fresh updates at 1 and two of almost no weight at 10: the rule alone stays at 1."""
    some = [
        replace(u, discount=d) for u, d in zip(updates([[1.0], [1.0], [10.0], [10.0]]), (1, 1, 1e-3, 1e-3), strict=True)
    ]
    for rule in (CenteredClip(tau=1000.0), GeometricMedian()):
        alone, bucketed = (merged(each, some)[0].vectors["delta"] for each in (rule, Bucketing(rule, 1)))
        torch.testing.assert_close(bucketed, alone)
        assert float(bucketed) < 1.1


def test_buckets_follow_the_seed():
    rows = randn(9, 5)
    rule = Bucketing(Median(), 2)
    found = [merged(rule, updates(rows), seed=seed)[0].vectors["delta"] for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_buckets_of_one_are_the_rule():
    rows = randn(9, 5)
    torch.testing.assert_close(delta(Bucketing(TrimmedMean(0.2), 1), rows), delta(TrimmedMean(0.2), rows))


def test_krum_inside_buckets_hears_a_minority_that_it_would_never_choose():
    """Seven agents at 0 and two at 1 are all honest: Krum alone is at 0 always, in buckets of three mostly not."""
    rows = torch.cat([torch.zeros(7, 4), torch.ones(2, 4)])
    means = [
        float(merged(Bucketing(Krum(f=0), 3), updates(rows), seed=seed)[0].vectors["delta"].mean())
        for seed in range(20)
    ]
    assert delta(Krum(f=1), rows).tolist() == [0.0] * 4
    assert sum(mean > 0 for mean in means) > 10


def test_the_state_is_the_rules():
    rule, inner = Bucketing(CenteredClip(tau=0.1), 2), CenteredClip(tau=0.1)
    assert torch.equal(rule.init(torch.ones(3))["centre"], inner.init(torch.ones(3))["centre"])
    found, state = merged(rule, updates(randn(6, 3)))
    assert torch.equal(state["centre"], found.vectors["delta"])


@dataclass(frozen=True, kw_only=True)
class Particular(RowRule):
    """Needs something, tells something, and is bound."""

    bound: bool = False

    needs = ("fisher",)

    def bind(self, spec):
        return replace(self, bound=True)

    def tells(self, state):
        return {"told": 1.0}

    def update(self, total, state, params, *, seed):
        return total.updates[0], state


def test_it_passes_on_all_that_a_rule_has():
    rule = Bucketing(Particular())
    assert rule.needs == ("fisher",)
    assert rule.tells({}) == {"told": 1.0}
    assert rule.bind(None).rule.bound
    assert Bucketing(GeometricMedian()).laws == {"failure", "identity", "robustness"}
    assert Bucketing(CenteredClip()).laws == {"failure"}


def test_says_how_many_it_needs():
    """Krum(1) needs five buckets: of size 2, nine updates fill four and begin the fifth."""
    assert Bucketing(Krum(f=1), 2).min_updates == 9
    assert Bucketing(Median(), 3).min_updates == 1
    with pytest.raises(
        ConfigError, match=r"Bucketing\(.*\) needs 9 updates a round; .* of 8 agents brings 8: select more"
    ):
        Training(digits(ONE_STEP, rc.Bucketing(rc.Krum(f=1), size=2)))


def test_parts_of_a_model_are_refused():
    some = updates(torch.ones(2, 3))
    some[1] = replace(some[1], coverage=Coverage(Segments(3, ((0, 1),)), Segments.all(0)))
    with pytest.raises(UpdateError, match=r"agents \['agent-1'\] exchange only a part of the model"):
        merged(Bucketing(Median()), some)


@pytest.mark.parametrize("rule", [Mean(), Bucketing(Median()), None, Median])
def test_refuses_a_rule_that_compares_no_updates(rule):
    with pytest.raises(
        ConfigError, match=r"Bucketing.rule=.*: must be a rule that compares updates, such as Krum\(f=1\)"
    ):
        Bucketing(rule)


def test_refuses_empty_buckets():
    with pytest.raises(ConfigError, match=r"Bucketing.size=0: must be >= 1 updates"):
        Bucketing(Median(), 0)
