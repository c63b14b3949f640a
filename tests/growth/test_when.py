"""When a model grows, by hand."""

import pytest

import raycollab as rc
from raycollab.growth import Asked, AtRounds, NewClasses, News, Stalled

MLP = rc.models.MLP


def told(when, *news):
    """The causes of one round after another."""
    state, causes = when.init(), []
    for each in news:
        cause, state = when.cause(each, state)
        causes.append(cause)
    return causes


def test_at_rounds():
    assert told(AtRounds([3, 5]), *map(News, range(2, 7))) == ["", "round 3 was set", "", "round 5 was set", ""]


def test_new_classes():
    cause = "label 9 has come, and there are 9 outputs"
    news = [News(2, outputs=9, labels=9), News(3, outputs=9, labels=10), News(4, labels=10), News(5, outputs=9)]
    assert told(NewClasses(), *news) == ["", cause, "", ""]


def test_stalled():
    """Best 0.5 at first; 0.55 is better, but not by more than 0.1; rounds without a score do not count."""
    scores = [0.5, None, 0.55, 0.6, 0.71, 0.71, 0.6]
    news = [News(index, score=score) for index, score in enumerate(scores, 2)]
    cause = "no better score in 2 evaluations"
    assert told(Stalled(2, least=0.1), *news) == ["", "", "", cause, "", "", cause]
    assert told(Stalled(1), News(2, score=0.5), News(3, score=0.5)) == ["", "no better score in 1 evaluations"]


def test_asked():
    news = [News(2, asking=1, agents=4), News(3, asking=2, agents=4), News(4, asking=0, agents=0)]
    assert told(Asked(0.5), *news) == ["", "2 of 4 agents asked for it", ""]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AtRounds((1,)), r"AtRounds.rounds=\(1,\): must be ascending rounds >= 2"),
        (lambda: AtRounds((5, 3)), "must be ascending rounds >= 2"),
        (lambda: AtRounds(()), "must be ascending rounds >= 2"),
        (lambda: Stalled(0), r"Stalled.patience=0: must be >= 1 evaluation"),
        (lambda: Stalled(1, least=-0.1), r"Stalled.least=-0.1: must be >= 0"),
        (lambda: Asked(0.0), r"Asked.share=0.0: must be in \(0, 1\]"),
        (lambda: Asked(1.5), r"Asked.share=1.5: must be in \(0, 1\]"),
        (lambda: rc.Growth((), AtRounds((3,))), r"Growth.forms=\(\): must be recipes of smaller nets"),
        (lambda: rc.Growth((MLP,), AtRounds((3,))), r"Growth.forms=.*: must be recipes of smaller nets"),
        (lambda: rc.Growth((MLP(4, 2),), AtRounds((3, 6))), r"Growth.when=AtRounds.*: must ask for at most .*: 1"),
        (lambda: rc.Growth((MLP(4, 2),), 3), r"Growth.when=3: must say when, such as rc.growth.AtRounds"),
        (lambda: rc.Growth((MLP(4, 2),), AtRounds((3,)), probation=-1), r"Growth.probation=-1: must be >= 0"),
        (
            lambda: rc.Growth((MLP(4, 2),), AtRounds((3,)), patience=4),
            r"patience=4: must be >= 1, and at most probation=3",
        ),
        (lambda: rc.Growth((MLP(4, 2),), AtRounds((3,)), patience=0), r"Growth.patience=0: must be >= 1"),
        (lambda: rc.Growth((MLP(4, 2),), AtRounds((3,)), tolerance=-1.0), r"Growth.tolerance=-1.0: must be >= 0"),
    ],
)
def test_bad_settings_say_what_is_accepted(make, message):
    with pytest.raises(rc.ConfigError, match=message):
        make()
