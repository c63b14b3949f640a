"""Rates, pulls and numbers of steps that follow progress, drift and speed."""

from dataclasses import dataclass

import pytest
import torch

from raycollab.adapt import AdaptiveProx, AdaptiveSteps, BalancedSteps, Plateau, measured_speeds
from raycollab.adapt.tuned import local_of, tuned
from raycollab.errors import ConfigError
from raycollab.learners import SGD, FedSGD, Optimizer, Prox, Scaffold
from raycollab.schedules import Cosine

ONE = SGD(lr=0.1, steps=1, batch_size=64)


@dataclass(frozen=True)
class Told(SGD):
    """Reports the losses that it is told, by round."""

    losses: tuple[float, ...] = ()

    def train(self, problem, params, round, step):
        update = super().train(problem, params, round, step)
        update.scalars["loss"] = self.losses[round.index - 1]
        return update


def test_the_pull_rises_with_the_loss_and_falls_after_some_falls(bench):
    """By 0.1 after a rise, from the next round on; after two falls in a row back by 0.1, never below 0."""
    told = Told(lr=0.01, steps=1, losses=(1.0, 2.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3, 0.2))
    updates, _ = bench.steps(AdaptiveProx(told, patience=2), 9)
    assert [update.scalars["mu"] for update in updates] == pytest.approx([0, 0, 0.1, 0.2, 0.2, 0.1, 0.1, 0, 0])


def test_the_pull_is_prox(bench):
    learner = SGD(lr=0.05, steps=3, batch_size=16)
    update, _ = AdaptiveProx(learner, mu=0.7).update(
        bench.problem,
        bench.vectors["params"],
        AdaptiveProx(learner, mu=0.7).init(bench.vectors["params"]),
        bench.round(),
    )
    expected, _ = Prox(learner, 0.7).update(bench.problem, bench.vectors["params"], {}, bench.round())
    assert torch.equal(update.vectors["delta"], expected.vectors["delta"])


def test_the_pull_has_a_largest_strength(bench):
    told = Told(lr=0.01, steps=1, losses=tuple(range(1, 9)))
    updates, _ = bench.steps(AdaptiveProx(told, by=1.0, most=2.5), 8)
    assert updates[-1].scalars["mu"] == 2.5


def test_a_rate_falls_on_a_plateau(bench):
    """Progress in rounds 1 and 2; rounds 3 and 4 make the first plateau, 5 and 6 the second."""
    told = Told(lr=0.1, steps=1, batch_size=64, losses=(1.0, 0.5, 0.499, 0.6, 0.5, 0.5, 0.1))
    updates, state = bench.steps(Plateau(told, patience=2), 7)
    assert [update.scalars["rate"] for update in updates] == [1, 1, 1, 1, 0.5, 0.5, 0.25]
    assert state["best"] == 0.1
    free, _ = told.update(bench.problem, bench.vectors["params"], {}, bench.round(7))
    slow, _ = tuned(told, rate=0.25).update(bench.problem, bench.vectors["params"], {}, bench.round(7))
    torch.testing.assert_close(slow.vectors["delta"], 0.25 * free.vectors["delta"])


def test_a_rate_has_a_least_factor(bench):
    told = Told(lr=0.1, steps=1, losses=(1.0,) * 9)
    updates, _ = bench.steps(Plateau(told, patience=1, least=0.2), 9)
    assert updates[-1].scalars["rate"] == 0.2


@pytest.mark.parametrize("learner", [Prox(ONE, 0.5), Scaffold(ONE), Optimizer("Adam", {"lr": 0.1})], ids=repr)
def test_a_learner_is_tuned_however_it_is_wrapped(learner):
    changed = tuned(learner, rate=0.5, steps=7)
    local = local_of(changed)
    assert type(changed) is type(learner)
    assert local.steps == 7
    assert local.schedule.factor(0) == 0.5
    assert local_of(learner).schedule.factor(0) == 1.0


def test_a_schedule_goes_on_under_a_factor():
    local = tuned(SGD(lr=0.1, schedule=Cosine(length=10, over="steps")), rate=3.0)
    assert local.schedule.over == "steps"
    assert local.schedule.factor(4) == pytest.approx(3 * Cosine(length=10).factor(4))


def test_steps_follow_how_far_the_agent_ended_from_where_the_others_went(bench):
    """Drift 0: all went where it went. Drift 2: they went the other way."""
    learner = AdaptiveSteps(SGD(lr=0.05, batch_size=16), steps=4, by=2.0)
    updates, state = bench.steps(learner, 1)
    assert updates[0].scalars["steps"] == 4
    updates, state = bench.steps(learner, 1, state, first=2)
    assert updates[0].scalars["steps"] == 8
    bench.vectors["params"] = bench.vectors["params"] - 2 * updates[0].vectors["delta"]
    updates, state = bench.steps(learner, 1, state, first=3)
    assert updates[0].scalars["steps"] == 4
    bench.vectors["params"] = state["start"] + 0.25 * state["moved"]  # drift 0.75: between half the target and it
    assert bench.steps(learner, 1, state, first=4)[0][0].scalars["steps"] == 4


def test_steps_stay_within_bounds(bench):
    learner = AdaptiveSteps(SGD(lr=0.01, batch_size=16), steps=4, by=3.0, most=10)
    updates, _ = bench.steps(learner, 4)
    assert [update.scalars["steps"] for update in updates] == [4, 10, 10, 10]


def test_steps_in_proportion_to_speed(bench):
    learner = BalancedSteps(SGD(lr=0.1, batch_size=8), steps=10, speeds={"a": 50.0, "b": 100.0, "c": 1000.0}, most=30)
    assert [learner.steps_of(name) for name in "abc"] == [5, 10, 30]
    assert bench.steps(learner, 1)[0][0].scalars["steps"] == 5


def test_speeds_are_read_from_a_run():
    rows = [
        {"agent": "a", "examples": 100, "seconds": 1.0},
        {"agent": "a", "examples": 100, "seconds": 4.0},
        {"agent": "a", "examples": 100, "seconds": 2.0},
        {"agent": "b", "examples": 10, "seconds": 1.0},
        {"agent": "c", "failure": "late"},
    ]
    assert measured_speeds(rows) == {"a": 50.0, "b": 10.0}


def test_an_agent_without_a_speed_is_refused(bench):
    learner = BalancedSteps(SGD(lr=0.1), steps=10, speeds={"b": 1.0})
    with pytest.raises(ConfigError, match=r"BalancedSteps\.speeds: none for agent 'a'; there are: b; give it one"):
        bench.steps(learner, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdaptiveProx(Prox(ONE, 1.0)), r"AdaptiveProx\.learner=.*: must be a LocalLearner"),
        (lambda: AdaptiveProx(ONE, mu=-1.0), r"AdaptiveProx\.mu=-1\.0: must be >= 0 and finite"),
        (lambda: AdaptiveProx(ONE, by=0.0), r"AdaptiveProx\.by=0\.0: must be > 0 and finite"),
        (lambda: AdaptiveProx(ONE, patience=0), r"AdaptiveProx\.patience=0: must be >= 1 round"),
        (lambda: AdaptiveProx(ONE, mu=2.0, most=1.0), r"AdaptiveProx\.most=1\.0: must be >= mu=2"),
        (lambda: Plateau(ONE, factor=1.0), r"Plateau\.factor=1\.0: must be in \(0, 1\)"),
        (lambda: Plateau(ONE, progress=1.0), r"Plateau\.progress=1\.0: must be in \[0, 1\)"),
        (lambda: Plateau(FedSGD()), "Plateau: FedSGD takes no local steps at a rate"),
        (lambda: AdaptiveSteps(ONE, target=0.0), r"AdaptiveSteps\.target=0\.0: must be > 0"),
        (lambda: AdaptiveSteps(ONE, steps=200), r"AdaptiveSteps\.steps=200: must be in least=1\.\.most=100"),
        (lambda: AdaptiveSteps(ONE, by=1.0), r"AdaptiveSteps\.by=1\.0: must be > 1"),
        (lambda: BalancedSteps(ONE, steps=5), r"BalancedSteps\.speeds=\{\}: must be examples a second > 0 by agent"),
        (lambda: BalancedSteps(ONE, 0, {"a": 1.0}), r"BalancedSteps\.steps=0: must be in least=1\.\.most=1000"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
