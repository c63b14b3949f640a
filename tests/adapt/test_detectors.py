"""Detectors: known values, how often they are wrong, and what they see."""

import math

import pytest
import torch

from raycollab.adapt import ADWIN, MMD, KolmogorovSmirnov, PageHinkley
from raycollab.errors import ConfigError
from raycollab.tree import flatten, unflatten

ALL = [KolmogorovSmirnov(), MMD(), PageHinkley(), ADWIN()]
each = pytest.mark.parametrize("detector", ALL, ids=lambda detector: type(detector).__name__)


def normal(count, seed, features=1, mean=0.0):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed)) + mean


def last(detector, rounds, reference):
    """The verdict of the last of some rounds, and all of them."""
    state, verdicts = detector.init(), []
    for index, values in enumerate(rounds):
        verdict, state = detector.update(values, reference, state, seed=index)
        verdicts.append(verdict)
    return verdicts


@each
def test_undisturbed_examples_alarm_in_no_round(detector):
    """60 rounds of 128 against one reference, which is no sample of its own for streams: its mean is off by 0.09."""
    rounds = [normal(128, 100 + index) for index in range(60)]
    assert not any(verdict.drifted for verdict in last(detector, rounds, normal(128, 1)))


@each
def test_examples_that_moved_alarm_at_once_or_in_the_next_round(detector):
    rounds = [normal(128, 100 + index, mean=0.0 if index < 20 else 1.5) for index in range(22)]
    verdicts = last(detector, rounds, normal(128, 1))
    assert not any(verdict.drifted for verdict in verdicts[:20])
    assert any(verdict.drifted and verdict.ratio > 1 for verdict in verdicts[20:])


@pytest.mark.parametrize("detector", [PageHinkley(), ADWIN()], ids=repr)
def test_streams_take_a_fall_for_no_drift(detector):
    """A loss that sinks is what learning is for."""
    rounds = [normal(128, index, mean=0.0 if index < 10 else -1.5) for index in range(20)]
    assert not any(verdict.drifted for verdict in last(detector, rounds, normal(128, 1)))


@each
def test_what_both_have_in_common_is_no_drift(detector):
    """The model got worse for all examples alike: the reference moves with the newest."""
    state = detector.init()
    for index in range(10):
        both = normal(256, index, mean=0.5 * index)
        verdict, state = detector.update(both[:128], both[128:], state, seed=index)
        assert not verdict.drifted


@each
def test_memory_survives_as_plain_values(detector):
    state, resumed = detector.init(), detector.init()
    for index in range(4):
        values = normal(64, index, mean=0.1 * index)
        verdict, state = detector.update(values, normal(64, 9), state, seed=index)
        again, resumed = detector.update(values, normal(64, 9), unflatten(*flatten(resumed)), seed=index)
        assert verdict == again


def test_kolmogorov_smirnov_by_hand():
    """F and G of 0, 1, 2, 3 and 2, 3, 4, 5 differ by 1/2; the second feature is the same: the largest counts."""
    values = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    reference = torch.tensor([[2.0, 1.0], [3.0, 1.0], [4.0, 1.0], [5.0, 1.0]])
    verdict, _ = KolmogorovSmirnov(0.1).update(values, reference, {}, seed=0)
    assert verdict.statistic == pytest.approx(0.5)
    assert verdict.threshold == pytest.approx(math.sqrt(math.log(40) / 2 * 8 / 16))


def test_kolmogorov_smirnov_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    one, other = normal(50, 0), normal(70, 1, mean=0.3)
    verdict, _ = KolmogorovSmirnov().update(one, other, {}, seed=0)
    assert verdict.statistic == pytest.approx(stats.ks_2samp(one[:, 0].numpy(), other[:, 0].numpy()).statistic)


@pytest.mark.parametrize("detector", [KolmogorovSmirnov(0.05), MMD(0.05, 99)], ids=repr)
def test_the_level_is_kept(detector):
    """300 tests of undisturbed examples: 15 alarms are expected; 30 are four standard deviations too many."""
    alarms = sum(
        detector.update(normal(40, 2 * index, 2), normal(40, 2 * index + 1, 2), {}, seed=index)[0].drifted
        for index in range(300)
    )
    assert alarms < 30


def test_mmd_by_hand():
    """Points 0 and 0 against 1 and 1: the median distance is 1, 2 - 2 exp(-1/2)."""
    zeros, ones = torch.zeros(2, 1), torch.ones(2, 1)
    verdict, _ = MMD(0.5, 9).update(zeros, ones, {}, seed=0)
    assert verdict.statistic == pytest.approx(2 - 2 * math.exp(-0.5))


def test_mmd_sees_what_no_single_feature_shows():
    """Two features that are equal, or opposite: each is the same normal variable."""
    one, other = normal(100, 0), normal(100, 1)
    values, reference = torch.cat([one, one], 1), torch.cat([other, -other], 1)
    assert MMD().update(values, reference, {}, seed=0)[0].drifted
    assert not KolmogorovSmirnov().update(values, reference, {}, seed=0)[0].drifted


def test_page_hinkley_by_hand():
    """1, 3 against 0: means 1, 2; sums -0.5 and -0.5 + 0.5, so 0.5 above the least."""
    detector = PageHinkley(0.5, 10.0)
    verdict, state = detector.update(torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1), detector.init(), seed=0)
    assert verdict.statistic == pytest.approx(0.5)
    assert state == {"count": 2, "mean": 2.0, "sum": pytest.approx(0.0), "least": -0.5}


def test_adwin_forgets_what_is_before_a_change():
    detector, state = ADWIN(), ADWIN().init()
    _, state = detector.update(normal(512, 0), normal(512, 1), state, seed=0)
    assert sum(bucket[0] for bucket in state["buckets"]) == 512
    assert len(state["buckets"]) < 50
    verdict, state = detector.update(normal(128, 2, mean=3.0), normal(512, 1), state, seed=0)
    assert verdict.drifted
    assert sum(bucket[0] for bucket in state["buckets"]) < 200


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KolmogorovSmirnov(0.0), r"KolmogorovSmirnov\.level=0\.0: must be in \(0, 1\)"),
        (lambda: MMD(1.0), r"MMD\.level=1\.0: must be in \(0, 1\)"),
        (lambda: MMD(0.001, 99), r"MMD\.permutations=99: must be >= 999 for level=0\.001: fewer never reach it"),
        (lambda: PageHinkley(delta=-1.0), r"PageHinkley\.delta=-1\.0: must be >= 0"),
        (lambda: PageHinkley(threshold=0.0), r"PageHinkley\.threshold=0\.0: must be > 0"),
        (lambda: ADWIN(delta=2.0), r"ADWIN\.delta=2\.0: must be in \(0, 1\)"),
        (lambda: ADWIN(scale=0.0), r"ADWIN\.scale=0\.0: must be > 0 and finite"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
