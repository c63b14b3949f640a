import math
import statistics

import pytest

from raycollab.errors import ConfigError
from raycollab.modes import Exponential, LogNormal, PerAgent

INF = math.inf


@pytest.mark.parametrize("durations", [Exponential(2.0), LogNormal(2.0, 0.5)], ids=repr)
def test_drawn_by_agent_start_and_seed(durations):
    first = durations.duration("a", 0, 0)
    assert durations.duration("a", 0, 0) == first > 0
    others = {durations.duration(*where) for where in (("b", 0, 0), ("a", 1, 0), ("a", 0, 1))}
    assert len(others | {first}) == 4


def test_exponential_has_its_mean():
    """Of 4000 draws, whose mean has a standard deviation of 3 / sqrt(4000) = 0.047."""
    drawn = [Exponential(3.0).duration("a", start, 0) for start in range(4000)]
    assert statistics.mean(drawn) == pytest.approx(3.0, abs=5 * 0.047)


def test_log_normal_has_its_median_and_spread():
    """The mean of 4000 logarithms has a standard deviation of 0.5 / sqrt(4000) = 0.008; their spread's is smaller."""
    drawn = [math.log(LogNormal(3.0, 0.5).duration("a", start, 0)) for start in range(4000)]
    assert statistics.mean(drawn) == pytest.approx(math.log(3.0), abs=5 * 0.008)
    assert statistics.stdev(drawn) == pytest.approx(0.5, abs=5 * 0.008)
    assert LogNormal(3.0, 0.0).duration("a", 0, 0) == 3.0


def test_per_agent_is_what_is_given():
    durations = PerAgent({"slow": 5.0}, default=0.5)
    assert [durations.duration(name, start, 7) for name in ("slow", "other") for start in (0, 9)] == [5, 5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Exponential, {"mean": 0.0}, "Exponential.mean=0.0: must be > 0 and finite"),
        (Exponential, {"mean": INF}, "Exponential.mean=inf: must be > 0 and finite"),
        (LogNormal, {"median": -1.0}, "LogNormal.median=-1.0: must be > 0 and finite"),
        (LogNormal, {"sigma": -0.1}, "LogNormal.sigma=-0.1: must be >= 0 and finite"),
        (PerAgent, {"by_agent": {7: 1.0}}, "PerAgent.by_agent: the name 7 is no text; write it in quotes, as '7'"),
        (PerAgent, {"by_agent": {"a": 0.0}}, r"PerAgent.by_agent\['a'\]=0.0: must be > 0 and finite"),
        (PerAgent, {"by_agent": {"a": 1.0}, "default": INF}, "PerAgent.default=inf: must be > 0 and finite"),
    ],
)
def test_refuses(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        kind(**settings)
