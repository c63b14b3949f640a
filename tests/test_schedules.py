import pytest

from raycollab.errors import ConfigError
from raycollab.schedules import Constant, Cosine, Decay


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(), [1.0, 1.0, 1.0]),
        (Decay(0.5), [1.0, 0.5, 0.25]),
        (Decay(0.1, every=2), [1.0, 1.0, 0.1, 0.1, 0.01]),
        (Cosine(4), [1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0.0, 0.0]),  # (1 + cos(pi/4)) / 2 = 1/2 + sqrt(1/8)
        (Cosine(2, final=0.2), [1.0, 0.6, 0.2, 0.2]),
        (Cosine(4, warmup=2), [1 / 3, 2 / 3, 1.0, 0.5, 0.0]),
    ],
    ids=repr,
)
def test_by_hand(schedule, factors):
    assert [schedule.factor(at) for at in range(len(factors))] == pytest.approx(factors)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cosine(0), r"Cosine.length=0: must be >= 1"),
        (lambda: Cosine(3, warmup=3), r"Cosine.warmup=3: must be in 0..2"),
        (lambda: Cosine(3, final=2.0), r"Cosine.final=2.0: must be in \[0, 1\]"),
        (lambda: Decay(1.5), r"Decay.rate=1.5: must be in \(0, 1\]"),
        (lambda: Decay(0.5, every=0), r"Decay.every=0: must be >= 1"),
        (lambda: Cosine(3, over="days"), r"Cosine.over='days': must be one of \('rounds', 'epochs', 'steps'\)"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
