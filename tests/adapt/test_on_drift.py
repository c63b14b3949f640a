"""Watching, acting, taking back."""

import pytest
import torch

from raycollab.adapt import Branch, KolmogorovSmirnov, OnDrift, RaiseRate, RefreshNorm, Rehearse, Reweight, Watch
from raycollab.errors import ConfigError, ModelError
from raycollab.learners import SGD, FedSGD
from raycollab.models import MLP
from raycollab.params import Exchange
from raycollab.tree import flatten, unflatten
from raycollab.types import SCORE

from ..contracts.support import Quadratic
from .conftest import Bench, rows

SGD_ = SGD(lr=0.1, epochs=4, batch_size=16)


def policy(*actions, learner=SGD_, **settings):
    watch = Watch("loss", KolmogorovSmirnov(), actions)
    return OnDrift(learner, (watch,), **{"window": 48, "warmup": 2, "cooldown": 2, "probation": 2, **settings})


def drifted(bench, learner, rounds=8, **scalars):
    """Rounds on what the labels mean, then one on what they mean now."""
    _, state = bench.steps(learner, rounds)
    bench.with_rows(rows(turn=1))
    updates, state = bench.steps(learner, 1, state, first=rounds + 1, **scalars)
    return updates[0], state


def accuracy(bench, learner, state):
    own = learner.own_model(bench.problem, bench.vectors, state)
    bench.model.load(bench.vectors["params"], bench.vectors["buffers"])
    bench.model.load_whole(own or {})
    return bench.task.evaluate(bench.model.module, [bench.problem.shard.columns()]).compute()["accuracy"]


def test_without_drift_it_is_the_learner(bench):
    plain, _ = Bench().steps(SGD_, 8)
    watched, state = bench.steps(policy(Branch()), 8)
    for one, other in zip(plain, watched, strict=True):
        assert torch.equal(one.vectors["delta"], other.vectors["delta"])
    assert [update.changes for update in watched] == [()] * 8
    assert [update.scalars["drift"] for update in watched[:2]] == [0.0, 0.0]
    assert all(0 < update.scalars["drift"] <= 1 for update in watched[2:])
    assert not state["active"]


def test_drift_is_seen_in_its_first_round_and_acted_on_before_a_step_is_taken(bench):
    update, _ = drifted(bench, policy(Branch()))
    (change,) = update.changes
    assert (change.action, change.outcome, change.detail) == ("Branch", "taken", "keeps its own 3.weight, 3.bias")
    assert change.cause.startswith("loss drifted: KolmogorovSmirnov ")
    assert change.before > 1.5 > change.after > 0
    assert len(update.withheld) == 8  # all there is: the branch learns alone at first
    assert update.scalars["drift"] > 1


def test_a_branch_learns_what_labels_mean_now_and_leaves_the_common_head_alone(bench):
    learner = policy(Branch(alone=1))
    head = [entry for entry in bench.model.spec.params if entry.name.startswith("3.")]
    _, state = drifted(bench, learner)
    before = bench.vectors["params"].clone()
    _, state = bench.steps(learner, 3, state, first=10)
    assert all(torch.equal(before[e.offset : e.stop], bench.vectors["params"][e.offset : e.stop]) for e in head)
    assert not torch.equal(before, bench.vectors["params"])
    assert accuracy(bench, learner, state) == 1.0
    assert set(state["own"]) == {"3.weight", "3.bias"}


@pytest.mark.parametrize(("score", "rolled_back"), [(0.70, True), (0.90, False)])
def test_an_action_after_which_the_score_fell_is_taken_back(bench, score, rolled_back):
    """0.95 before: a fall of 0.06 is tolerated, and one round of more. The next action of the watch takes its place."""
    learner = policy(Branch(), RaiseRate(factor=2.0), tolerance=0.06)
    _, state = drifted(bench, learner, **{SCORE: 0.95})
    updates, state = bench.steps(learner, 1, state, first=10, **{SCORE: score})
    assert updates[0].changes == ()  # one round may be chance
    updates, state = bench.steps(learner, 1, state, first=11, **{SCORE: score})
    changes = [(change.action, change.outcome) for change in updates[0].changes]
    assert changes == ([("Branch", "rolled back"), ("RaiseRate", "taken")] if rolled_back else [])
    assert bool(state["own"]) != rolled_back
    assert [active["action"] for active in state["active"]] == [int(rolled_back)]
    if rolled_back:
        assert "fell from 0.95 to 0.7" in updates[0].changes[0].cause
        assert updates[0].changes[1].cause == "Branch was rolled back"


@pytest.mark.parametrize("scores", [(0.95, 0.95, 0.2, 0.2, 0.2), (0.2, 0.95, 0.2, 0.95, 0.95)])
def test_a_fall_after_probation_or_for_a_single_round_has_other_reasons(bench, scores):
    """Probation is two rounds, and two falls in a row count."""
    learner = policy(Branch())
    _, state = drifted(bench, learner, **{SCORE: 0.95})
    for index, score in enumerate(scores, start=10):
        updates, state = bench.steps(learner, 1, state, first=index, **{SCORE: score})
        assert updates[0].changes == ()
    assert len(state["active"]) == 1


def test_what_was_taken_back_is_not_taken_again(bench):
    learner = policy(Branch())
    _, state = drifted(bench, learner, **{SCORE: 0.95})
    _, state = bench.steps(learner, 4, state, first=10, **{SCORE: 0.1})
    assert not state["active"]
    bench.with_rows(rows(turn=2))
    updates, _ = bench.steps(learner, 1, state, first=14)
    assert [(change.action, change.outcome) for change in updates[0].changes] == [("drift", "reported")]


def test_a_rate_is_raised_for_as_long_as_it_says(bench):
    learner = policy(RaiseRate(rounds=2, factor=4.0), learner=SGD(lr=0.01, steps=1, batch_size=64))
    _, state = drifted(bench, learner, rounds=40)
    one, state = bench.steps(learner, 1, state, first=42)
    ended, state = bench.steps(learner, 1, state, first=43)
    assert one[0].changes == ()
    assert [(change.action, change.outcome, change.cause) for change in ended[0].changes] == [
        ("RaiseRate", "ended", "after 2 rounds")
    ]
    plain, _ = SGD(lr=0.01, steps=1, batch_size=64).update(bench.problem, bench.vectors["params"], {}, bench.round(44))
    raised, _ = RaiseRate(factor=4.0).learn(
        SGD(lr=0.01, steps=1, batch_size=64), bench.problem, bench.vectors["params"], {}, {}, bench.round(44)
    )[:2]
    torch.testing.assert_close(raised.vectors["delta"], 4 * plain.vectors["delta"])


def test_another_weight(bench):
    update, _ = drifted(bench, policy(Reweight(factor=0.25)))
    assert update.weight == 16.0


def test_examples_from_before_are_learned_again(bench):
    """A third of each batch: the old meaning of labels is not unlearned as far as without."""
    learner = policy(Rehearse(share=0.5))
    _, state = drifted(bench, learner)
    assert torch.equal(state["active"][0]["own"]["rows"]["label"].bincount() > 0, torch.tensor([True] * 3))
    other = Bench()
    drifted(other, policy())
    old = [rows()]
    losses = []
    for each in (bench, other):
        each.model.load(each.vectors["params"], each.vectors["buffers"])
        losses.append(each.task.evaluate(each.model.module, old).compute()["loss"])
    assert losses[0] < losses[1]


def test_norms_are_taken_anew_from_inputs_that_moved(bench):
    watch = Watch("features", KolmogorovSmirnov(), (RefreshNorm(batch_size=16),))
    learner = OnDrift(SGD_, (watch,), window=48, warmup=2)
    _, state = bench.steps(learner, 8)
    common = bench.vectors["buffers"].clone()
    bench.with_rows(rows(shift=5.0))
    updates, state = bench.steps(learner, 1, state, first=9)
    assert updates[0].changes[0].action == "RefreshNorm"
    assert set(updates[0].withheld) == {"1.weight", "1.bias", "1.running_mean", "1.running_var"}
    assert torch.equal(bench.vectors["buffers"], common)
    assert accuracy(bench, learner, state) > 0.95


def test_the_first_watch_that_alarms_acts(bench):
    watches = (Watch("inputs", KolmogorovSmirnov(), ()), Watch("loss", KolmogorovSmirnov(), (Branch(),)))
    learner = OnDrift(SGD_, watches, window=48, warmup=2)
    _, state = bench.steps(learner, 8)
    bench.with_rows(rows(shift=5.0, turn=1))
    updates, _ = bench.steps(learner, 1, state, first=9)
    assert [(change.action, change.cause.split()[0]) for change in updates[0].changes] == [("drift", "inputs")]


def test_memory_survives_as_plain_values(bench):
    """What is remembered with an active action, after a checkpoint."""
    learner = policy(Branch(alone=1), learner=SGD(lr=0.1, momentum=0.9, keep_momentum=True, batch_size=16))
    _, state = drifted(bench, learner)
    params = bench.vectors["params"]
    one, _ = learner.update(bench.problem, params, state, bench.round(10))
    other, _ = learner.update(bench.problem, params, unflatten(*flatten(state)), bench.round(10))
    assert torch.equal(one.vectors["delta"], other.vectors["delta"])
    assert one.withheld == other.withheld == ("3.weight", "3.bias")


def test_what_acts_on_what_is_not_there_is_refused(bench):
    with pytest.raises(ModelError, match=r"Branch\.include: 'tail\.\*' matches nothing; there are: 0\.weight, "):
        policy(Branch(include=("tail.*",))).check_model(bench.model.module)
    policy(Branch(include=("3.*",))).check_model(bench.model.module)
    with pytest.raises(ModelError, match=r"Branch\.include: '3\.\*' matches nothing that is exchanged; there are: 0"):
        drifted(Bench(Exchange(exclude=("3.*",))), policy(Branch()))


def test_norms_of_a_net_without_any_are_refused():
    net = MLP(4, 3, (8,)).build()
    with pytest.raises(ModelError, match="RefreshNorm: Sequential has no BatchNorm layer, and so nothing to refresh"):
        policy(RefreshNorm()).check_model(net)


def test_what_a_task_does_not_tell_cannot_be_watched():
    bench = Bench(task=Quadratic(4))
    bench.with_rows({"x": torch.zeros(64, 4), "a": torch.ones(64, 4)})
    bench.steps(OnDrift(SGD_, (Watch("loss", KolmogorovSmirnov()),), window=48), 5)
    with pytest.raises(ModelError, match="Quadratic gives no features"):
        bench.steps(OnDrift(SGD_, (Watch("features", KolmogorovSmirnov()),), window=48), 1)


def test_a_window_larger_than_the_shard_is_refused():
    policy(window=64).check(64)
    with pytest.raises(ConfigError, match=r"OnDrift\.window=65: must be <= 64, the shard's training examples"):
        policy(window=65).check(64)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: policy(window=4), r"OnDrift\.window=4: must be >= 8 examples"),
        (lambda: policy(warmup=0), r"OnDrift\.warmup=0: must be >= 1 round"),
        (lambda: policy(patience=0), r"OnDrift\.patience=0: must be >= 1 round"),
        (lambda: Branch(alone=-1), r"Branch\.alone=-1: must be >= 0 rounds"),
        (lambda: policy(tolerance=-0.1), r"OnDrift\.tolerance=-0\.1: must be >= 0"),
        (lambda: OnDrift(SGD_, ()), r"OnDrift\.watches=\(\): must be one Watch or more"),
        (lambda: Watch("weather", KolmogorovSmirnov()), r"Watch\.signal='weather': must be one of inputs, features"),
        (lambda: Watch("loss", SGD_), r"Watch\.detector=.*: must be a Detector"),
        (lambda: Watch("loss", KolmogorovSmirnov(), (SGD_,)), r"Watch\.actions=.*: must be actions"),
        (lambda: RaiseRate(factor=0.0), r"RaiseRate\.factor=0\.0: must be > 0 and finite"),
        (lambda: RaiseRate(rounds=0), r"RaiseRate\.rounds=0: must be >= 1, or null"),
        (lambda: Reweight(factor=-1.0), r"Reweight\.factor=-1\.0: must be >= 0 and finite"),
        (lambda: Rehearse(share=1.0), r"Rehearse\.share=1\.0: must be in \(0, 1\)"),
        (lambda: RefreshNorm(batch_size=1), r"RefreshNorm\.batch_size=1: must be >= 2"),
        (lambda: policy(RaiseRate(), learner=FedSGD()), "RaiseRate: FedSGD takes no local steps at a rate"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
