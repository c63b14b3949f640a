"""The settings of secure sums."""

import pickle
from dataclasses import dataclass
from importlib import util

import pytest

import raycollab as rc
from raycollab.aggregation import WeightedSum
from raycollab.errors import ConfigError, ModelError
from raycollab.spec import Coverage, Segments

MASKABLE = [
    rc.Mean(),
    rc.Mean("uniform"),
    rc.Mean(by_agent={"a": 2.0}),
    rc.FedNova(),
    rc.FedDyn(),
    rc.FedBuff(),
    rc.TaskArithmetic(0.5),
    rc.NormBound(1.0),
    rc.AdaptiveClip(),
]
NOT_MASKABLE = [
    rc.Median(),
    rc.Krum(f=1),
    rc.GeometricMedian(),
    rc.QFedAvg(q=1.0, lr=0.1),
    rc.AgnosticFL(lr=0.1),
    rc.FisherMean(),
    rc.Mean(exact=True),
    rc.PerGroup({"*": rc.Mean()}),
    rc.Ties(),
    rc.Contributions(validation=rc.data.Digits("test")),
]


@pytest.mark.parametrize("rule", MASKABLE, ids=repr)
def test_rules_that_only_sum_go_with_it(rule):
    secure = rc.SecureSum(rule, min_agents=4)
    assert pickle.loads(pickle.dumps(secure)) == secure
    assert secure.laws == rule.laws
    assert (secure.min_updates, secure.sums) == (4, False)


@pytest.mark.parametrize("rule", NOT_MASKABLE, ids=lambda rule: type(rule).__name__)
def test_rules_that_need_more_are_refused(rule):
    with pytest.raises(ConfigError, match=r"SecureSum\.rule=.*must merge a plain sum of all updates, such as Mean"):
        rc.SecureSum(rule)


@pytest.mark.parametrize("rule", [rc.PrivateMean(noise=1.0, max_norm=1.0), rc.PrivateAdaptiveMean(noise=1.0)])
def test_noise_of_the_drivers_is_refused_and_what_to_take_instead_is_named(rule):
    """The driver would hold the sum without noise; with shares of it, nobody does."""
    with pytest.raises(ConfigError, match=r"SecureSum\.rule=Private.*must leave the noise to the agents: .*NoiseShare"):
        rc.SecureSum(rule)


def test_a_rule_of_ones_own_says_whether_it_only_sums():
    @dataclass(frozen=True)
    class Own(rc.Mean):
        maskable = False

    with pytest.raises(ConfigError, match=r"SecureSum\.rule=.*Own"):
        rc.SecureSum(Own())


def test_weights_without_a_known_limit_need_one():
    with pytest.raises(ConfigError, match=r"SecureSum\.max_weight=None: Mean\(weights='tokens'.*set it to the largest"):
        rc.SecureSum(rc.Mean("tokens"))
    assert rc.SecureSum(rc.Mean("tokens"), max_weight=1e6).needs == ("counted",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_agents": 2}, r"SecureSum\.min_agents=2: must be >= 3: of the sum of two, each can tell what the other"),
        ({"threshold": 0.5}, r"SecureSum\.threshold=0\.5: must be in \(0\.5, 1\]"),
        ({"threshold": 1.01}, r"SecureSum\.threshold=1\.01"),
        ({"bits": 16}, r"SecureSum\.bits=16: must be 32 or 64"),
        ({"clip": 0.0}, r"SecureSum\.clip=0\.0: must be > 0 and finite"),
        ({"clip": float("inf")}, r"SecureSum\.clip=inf"),
        ({"max_weight": 0.0}, r"SecureSum\.max_weight=0\.0: must be > 0 and finite, or null"),
        ({"max_weight": float("nan")}, r"SecureSum\.max_weight=nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        rc.SecureSum(rc.Mean(), **settings)


def test_it_says_what_is_missing(monkeypatch):
    found = util.find_spec
    monkeypatch.setattr(
        "raycollab.secure.secure_sum.find_spec", lambda name: None if name == "cryptography" else found(name)
    )
    with pytest.raises(ConfigError, match=r"needs cryptography: pip install 'raycollab\[trust\]', on every node"):
        rc.SecureSum(rc.Mean())


@pytest.mark.parametrize(
    ("threshold", "count", "needed"),
    [(2 / 3, 10, 7), (2 / 3, 9, 6), (0.51, 10, 6), (1.0, 5, 5), (2 / 3, 3, 2), (0.6, 5, 3)],
)
def test_more_than_half_are_needed(threshold, count, needed):
    assert rc.SecureSum(rc.Mean(), threshold=threshold).needed(count) == needed
    assert 2 * needed > count


def test_parts_of_a_model_are_refused():
    part = Coverage(Segments(10, ((0, 5),)), Segments.all(0))
    with pytest.raises(ModelError, match="SecureSum: the agent exchanges only a part of the model"):
        rc.SecureSum(rc.Mean()).check_coverage(part)
    rc.SecureSum(rc.Mean()).check_coverage(Coverage(Segments.all(10), Segments.all(0)))


def test_the_limit_of_weights_is_that_of_the_rule():
    """Told by the driver for those that go by examples; fixed for those that do not."""
    told = rc.Round(1, 0, 0, {}, {"most_examples": 1024.0}, agents=("a", "b", "c"))
    limits = [rc.SecureSum(rule)._max_weight(told) for rule in MASKABLE]
    assert limits == [1024.0, 1.0, 2.0, 1024.0, 1.0, 1.0, 1.0, 1024.0, 1024.0]
    assert rc.SecureSum(rc.Mean(), max_weight=7.0)._max_weight(told) == 7.0


@pytest.mark.parametrize(
    ("settings", "weight", "told"),
    [
        ({"weights": "uniform"}, 1.0, True),
        ({"by_agent": {"a": 0.5}}, 0.5, True),
        ({"scalar": "loss"}, 20.0, False),  # a loss is for nobody to see, not as a weight either
        ({"weights": "tokens"}, 20.0, False),
    ],
)
def test_weights_are_told_where_masks_do_not_hide_them(settings, weight, told):
    rule = rc.SecureSum(rc.Mean(**settings), max_weight=1e6)
    update = rc.Update("a", 20.0, {}, {"loss": 0.7, "counted": 90.0})
    assert rule.weighed(update).weight == weight
    assert rule.weighs is told


def test_its_sums_are_no_weighted_sums():
    """So neither slices nor attacks take them for something to be looked at."""
    assert rc.SecureSum(rc.Mean()).partial is not WeightedSum
