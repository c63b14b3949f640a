import math
from dataclasses import dataclass, replace

import pytest
import torch

import raycollab as rc
from raycollab.aggregation import Stack, add_up
from raycollab.errors import ConfigError, DataError
from raycollab.runtime.judge import Judge
from raycollab.shared_set import SharedSet
from raycollab.spec import Entry, ParamSpec
from raycollab.types import Failure
from raycollab.validation import Validation

from ..contracts.support import DIGITS, TEST, Training, digits, train

HELD = rc.data.Holdout(rc.data.Digits("train"), "test", 0.1)
RULE = rc.LearnedWeights(HELD)
SPEC = ParamSpec((Entry("a.weight", (1,), "float32", 0), Entry("b.weight", (1,), "float32", 1)), ())
PARAMS = torch.zeros(2)


@dataclass(frozen=True)
class Bowl:
    """Half the squared distance of the delta from a point."""

    x: float
    y: float

    def loss(self, change):
        return float((change["delta"] - torch.tensor([self.x, self.y])).square().sum() / 2)

    def losses(self, changes):
        return [self.loss(change) for change in changes]

    def gradient(self, change, *, part, batch_size):
        return change["delta"] - torch.tensor([self.x, self.y])


def of(name, weight, *values):
    return rc.Update(name, weight, {"delta": torch.tensor(values)})


def merged(rule, *updates, state=None):
    total = add_up([rule.collect(update, rc.Round(1, 0, 0, {})) for update in updates])
    return rule.update(total, rule.init(PARAMS) if state is None else state, PARAMS, seed=0)


def bound(objective, **settings):
    return replace(RULE, **settings).bind(SPEC).judged(objective)


def test_one_step_by_hand():
    """Weights 1/4, 3/4 of deltas (4, 0), (0, 0) merge to (1, 0), whose slope towards (4, 0) is (-3, 0).

    By weight -12 and 0, from their mean -3: -9 and 3. The largest, the first's, moves by the rate; the other by -1/3 of
    it; relative to the largest both are 0 and -4/3 of the rate: weights 1/4 and 3/4 exp(-4/3 * 0.3), made to sum to 1.
    """
    update, state = merged(bound(Bowl(4, 0), steps=1, rate=0.3), of("a", 1.0, 4.0, 0.0), of("b", 3.0, 0.0, 0.0))
    other = 3 * math.exp(-0.4)
    assert update.vectors["delta"].tolist() == pytest.approx([4 / (1 + other), 0.0])
    assert update.scalars == pytest.approx({"weight/a": 1 / (1 + other), "weight/b": other / (1 + other)})
    assert state == {"moved": {"a": [0.0], "b": [pytest.approx(-0.4)]}}


def test_rounds_go_on_from_where_they_ended_and_a_bad_agent_ends_near_zero():
    rule, state = bound(Bowl(1, 1)), None
    updates = [of("good", 1.0, 1.0, 1.0), of("fair", 1.0, 1.1, 0.9), of("bad", 8.0, -5.0, -5.0)]
    for _ in range(20):
        update, state = merged(rule, *updates, state=state)
    assert update.scalars["weight/bad"] < 1 / 30
    assert min(state["moved"]["bad"]) >= -10


def test_a_group_has_weights_of_its_own():
    """Each agent is right about one of two parameters: only weights by group reach the point."""
    updates = of("a", 1.0, 1.0, 0.0), of("b", 1.0, 0.0, 1.0)
    by_group, _ = merged(bound(Bowl(1, 1), per="group", steps=100), *updates)
    by_agent, _ = merged(bound(Bowl(1, 1), steps=100), *updates)
    assert by_group.vectors["delta"].tolist() == pytest.approx([1, 1], abs=0.01)
    assert by_agent.vectors["delta"].tolist() == pytest.approx([0.5, 0.5])


def test_an_evolution_strategy_finds_the_weights_from_losses_alone():
    """Two of three agents span the point; the third leads away from it. By group, each is right about one parameter."""
    updates = of("a", 1.0, 1.0, 0.0), of("b", 1.0, 0.0, 1.0), of("bad", 1.0, -5.0, -5.0)
    rule = bound(Bowl(0.5, 0.5), method="cma", steps=40, rate=1.0)
    update, state = merged(rule, *updates)
    assert update.vectors["delta"].tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert update.scalars["weight/bad"] < 0.02
    assert merged(rule, *updates)[0].scalars == update.scalars  # of the same seed
    again, _ = merged(bound(Bowl(0.5, 0.5), method="cma", steps=1, rate=0.01), *updates, state=state)
    assert again.scalars["weight/bad"] < 0.02  # it goes on from what the round before found
    by_group, _ = merged(bound(Bowl(1, 1), method="cma", per="group", steps=60, rate=1.0), *updates[:2])
    assert by_group.vectors["delta"].tolist() == pytest.approx([1, 1], abs=0.05)


def test_an_evolution_strategy_keeps_what_it_cannot_improve():
    class Alike(Bowl):
        def loss(self, change):
            return 1.0

    update, state = merged(bound(Alike(0, 0), method="cma", steps=2), of("a", 1.0, 1.0, 0.0), of("b", 3.0, 0.0, 1.0))
    assert update.scalars == pytest.approx({"weight/a": 0.25, "weight/b": 0.75})
    assert state["moved"] == {"a": [0.0], "b": [0.0]}


def test_a_loss_that_is_no_number_ends_the_search_where_it_was():
    class Broken(Bowl):
        def loss(self, change):
            return math.nan

    update, _ = merged(bound(Broken(0, 0), method="cma", steps=5), of("a", 1.0, 1.0, 0.0), of("b", 3.0, 0.0, 1.0))
    assert update.scalars == pytest.approx({"weight/a": 0.25, "weight/b": 0.75})


def test_without_the_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr("raycollab.aggregation.evolution.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs cmaes, which is not installed: pip install 'raycollab\[search\]'"):
        replace(RULE, method="cma")


def test_shrinking_by_hand():
    """From (4, 0), two equal updates of 0: the slope to (1, 0) is (3, 0), along the parameters, which shrink by a step.

    Updates that are equal do not aggregate to themselves then. To (9, 0) they would have to grow, which they do not.
    """
    params = torch.tensor([4.0, 0.0])
    updates = [of("a", 1.0, 0.0, 0.0), of("b", 1.0, 0.0, 0.0)]
    for target, factor in ((1.0, math.exp(-0.2)), (9.0, 1.0)):
        rule = bound(Bowl(target - 4, 0), steps=1, shrink=0.2)
        total = add_up([rule.collect(update, rc.Round(1, 0, 0, {})) for update in updates])
        update, _ = rule.update(total, rule.init(params), params, seed=0)
        assert update.vectors["delta"].tolist() == pytest.approx([4 * factor - 4, 0.0])
    assert rule.laws == {"failure", "weights"}


def test_long_runs_are_cut_and_change_nothing():
    """A million elements of two agents: the sum of weight times delta, and the slope of each weight."""
    spec = ParamSpec((Entry("a.weight", (10**6 + 7,), "float32", 0),), ())
    rows = torch.randn(2, 10**6 + 7, generator=torch.Generator().manual_seed(0))
    stack = Stack.of(rc.Update("a", 1.0, {"delta": rows[0]})) + Stack.of(rc.Update("b", 1.0, {"delta": rows[1]}))
    rule = RULE.bind(spec)
    assert len(rule.runs["delta"]) == 4
    weights = torch.tensor([[0.25], [0.75]], dtype=torch.float64)
    assert torch.allclose(rule._merged(stack, weights)["delta"], 0.25 * rows[0] + 0.75 * rows[1], atol=1e-6)
    slopes = rule._slopes(stack, rows[0]).flatten().tolist()
    assert slopes == pytest.approx((rows.double() @ rows[0].double()).tolist(), rel=1e-4)


def test_greedy_by_hand():
    """Alone: a 0.5, b 0.5, c 12.5. With b the mean (0, 1) is at the point; with c it is not."""
    rule = bound(Bowl(0, 1), method="greedy")
    update, state = merged(rule, of("c", 9.0, 0.0, 6.0), of("a", 1.0, 1.0, 1.0), of("b", 1.0, -1.0, 1.0))
    assert update.vectors["delta"].tolist() == [0.0, 1.0]
    assert update.scalars == {"weight/c": 0.0, "weight/a": 0.5, "weight/b": 0.5}
    assert state == {"moved": {}}


def test_laws_that_greedy_does_not_hold():
    """Two copies of a count twice, and a weight of 2 does not; who the objective likes best decides alone."""
    rule, a, b = bound(Bowl(0, 1), method="greedy"), of("a", 1.0, 1.0, 1.0), of("b", 1.0, -1.0, 1.0)
    copied, _ = merged(rule, a, replace(a, agent="copy"), b)
    heavier, _ = merged(rule, replace(a, weight=2.0), b)
    assert copied.vectors["delta"].tolist() == pytest.approx([1 / 3, 1.0])
    assert heavier.vectors["delta"].tolist() == [0.0, 1.0]
    alone, _ = merged(bound(Bowl(99, 99), method="greedy"), a, b, of("bad", 1.0, 99.0, 99.0))
    assert alone.vectors["delta"].tolist() == [99.0, 99.0]
    assert rule.laws == {"failure", "identity"}


def test_hosts_judge_and_the_driver_where_they_do_not():
    """Of three candidates the second gets no answer: the driver's own loss stands there, and a note says so.

    One candidate alone is not worth a message; without hosts nothing is said.
    """
    training = Training(digits(rounds=1))
    driver, asked = training.driver, []
    delta = torch.randn(training.params.numel(), generator=torch.Generator().manual_seed(0))
    changes = [{"delta": delta * scale} for scale in (0.0, 0.1, 0.2)]
    alone = Validation(HELD, DIGITS, driver.growing.model, driver.shared_set, 0).at(driver.vectors)

    def hosts(candidates):
        asked.append([candidate["params"] for candidate in candidates])
        return [7.0, Failure("", "Timeout", "no answer within 5 s"), 9.0]

    validation = Validation(HELD, DIGITS, driver.growing.model, driver.shared_set, 0, hosts)
    own = [alone.loss(change) for change in changes]
    assert alone.losses(changes) == own
    assert validation.at(driver.vectors).losses(changes) == [7.0, own[1], 9.0]
    assert all(
        torch.equal(params, training.params + change["delta"]) for params, change in zip(asked[0], changes, strict=True)
    )
    assert validation.news() == ["the driver judged 1 of 3 merges that hosts did not: no answer within 5 s"]
    assert validation.at(driver.vectors).losses(changes[:1]) == own[:1]
    assert len(asked) == 1
    assert validation.news() == alone.validation.news() == []


def test_a_host_judges_as_the_driver_does_and_only_where_it_may():
    rule = replace(RULE, method="greedy", on_hosts=True)
    driver = Training(digits(rc.SGD(lr=0.1, steps=1, batch_size=8), rule, rounds=1)).driver
    session = replace(digits(rounds=1), chain=(rule,)).session()
    assert Judge(session, "cpu").loss(driver.vectors) == driver._validation.loss(driver.vectors)
    for kept in (replace(rule, on_hosts=False), rc.Mean()):
        with pytest.raises(ConfigError, match=r"its validation data stays with the driver; set on_hosts=True"):
            Judge(replace(digits(rounds=1), chain=(kept,)).session(), "cpu")
    assert rc.Dare(0.5, rule).validates_on_hosts()
    assert not rc.Dare(0.5, RULE).validates_on_hosts()


def test_the_gradient_is_that_of_the_loss():
    """On all rows at once, beside the difference of the loss over a short way along it; the model is left as it was."""
    training = Training(digits(rounds=1))
    driver = training.driver
    validation = Validation(HELD, DIGITS, driver.growing.model, driver.shared_set, 0)
    objective = validation.at(driver.vectors)
    change = {"delta": torch.zeros_like(training.params)}
    gradient = objective.gradient(change, part=7, batch_size=10**6)
    step = 1e-2 * gradient / gradient.norm()
    slope = (objective.loss({"delta": step}) - objective.loss({"delta": -step})) / 2e-2
    assert slope == pytest.approx(
        float(gradient.norm()), rel=5e-3
    )  # the way there and back is 0.02 long: float32 and the third derivative


def test_flipped_agents_lose_their_weight_and_cost_little():
    """Two of eight agents hold wrong labels: learned weights end near zero for them, and beat the mean."""
    attack = rc.Attack("label_flip", num_agents=3)
    learner = rc.SGD(lr=0.2, epochs=2, batch_size=16)
    mean = train(digits(learner, rc.Mean("uniform"), rounds=8, attack=attack))
    learned = train(digits(learner, RULE, rounds=8, attack=attack))
    bad = set(learned.experiment.misbehaving())
    weights = {row.agent: row.weight for row in learned.reports[-1].agents}
    assert sum(weights.values()) == pytest.approx(1)
    assert max(weights[name] for name in bad) <= 1 / 80
    assert learned.reports[-1].metrics["accuracy"] > mean.reports[-1].metrics["accuracy"] + 0.03


def test_it_works_under_an_attack_that_sees_the_updates():
    attacked = digits(rc.SGD(lr=0.1, steps=1, batch_size=8), RULE, attack=rc.Attack("ipm", num_agents=2), rounds=4)
    found = train(attacked)
    weights = {row.agent: row.weight for row in found.reports[-1].agents}
    assert max(weights[name] for name in attacked.misbehaving()) < 1 / 8


def test_rows_of_the_test_set_are_refused():
    leaking = rc.data.Holdout(rc.data.Digits("test"), "test", 0.1)
    with pytest.raises(DataError, match=r"the validation set: .*rows are in the shared test set: .* too"):
        Training(digits(rc.SGD(lr=0.1, steps=1, batch_size=8), rc.LearnedWeights(leaking)))
    assert SharedSet(HELD, DIGITS, "cpu", what="the validation set").where.startswith("the validation set")


def test_a_validation_set_that_cannot_be_read_is_named():
    missing = rc.LearnedWeights(rc.data.Parquet("/nowhere/val.parquet"))
    with pytest.raises(DataError, match=r"the validation set: .*/nowhere/val.parquet"):
        Training(digits(rc.SGD(lr=0.1, steps=1, batch_size=8), missing))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": "val.parquet"}, r"LearnedWeights.validation='val.parquet': must be a Source"),
        ({"per": "layer"}, r"LearnedWeights.per='layer': must be 'agent' or 'group'"),
        ({"method": "grid"}, r"LearnedWeights.method='grid': must be one of"),
        ({"method": "greedy", "per": "group"}, r"method='greedy' chooses whole agents: set per='agent'"),
        ({"steps": 0}, r"LearnedWeights.steps=0: must be >= 1"),
        ({"rate": 0.0}, r"LearnedWeights.rate=0.0: must be > 0"),
        ({"batch_size": 0}, r"LearnedWeights.batch_size=0: must be >= 1"),
        ({"shrink": -1.0}, r"LearnedWeights.shrink=-1.0: must be >= 0"),
        ({"shrink": 0.1, "method": "greedy"}, r"LearnedWeights.shrink=0.1: follows the gradient"),
        ({"on_hosts": True}, r"LearnedWeights.on_hosts=True: the driver follows gradients: set method='cma'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(RULE, **settings)


def test_without_an_objective_it_says_what_is_missing():
    with pytest.raises(ConfigError, match="no objective was handed in"):
        merged(RULE.bind(SPEC), of("a", 1.0, 1.0, 1.0))


def test_groups_of_their_own_rules_are_refused():
    with pytest.raises(ConfigError, match=r"PerGroup.rules\['\*'\].*judges whole models"):
        rc.PerGroup({"*": RULE})


def test_the_test_set_is_not_used_for_the_weights():
    """Other test data, same committed bits."""
    fewer = rc.data.Holdout(TEST, "test", 0.5)
    one = digits(rc.SGD(lr=0.1, steps=1, batch_size=8), RULE)
    assert torch.equal(train(one).params, train(replace(one, test=fewer)).params)
