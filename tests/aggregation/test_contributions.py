"""Worths of updates, in games whose values are known and in runs; and who is named for them."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.aggregation import Stack
from raycollab.errors import ConfigError, UpdateError
from raycollab.report import round_notes
from raycollab.types import WEIGHT_OF, WORTH_OF, AgentReport, Update

from ..contracts.support import ONE_STEP, digits, train

VALIDATION = rc.data.Holdout(rc.data.Digits("train"), "test", 0.1)


class Distance:
    """The loss is half the squared distance from the goal of where the change leads."""

    goal = torch.tensor([1.0, 1.0])

    def loss(self, change):
        return float((change["delta"] - self.goal).square().sum() / 2)

    def gradient(self, change, *, part, batch_size):
        return change["delta"] - self.goal


def merged(rule, *deltas, state=None, weights=None):
    """The update, worths by agent, and the state."""
    updates = [
        Update(f"agent-{place}", (weights or [1.0] * len(deltas))[place], {"delta": torch.tensor(delta)})
        for place, delta in enumerate(deltas)
    ]
    rule = rule.judged(Distance())
    total = Stack(len(updates), tuple(updates))
    update, state = rule.update(total, state or rule.init(torch.zeros(2)), torch.zeros(2), seed=0)
    worths = [update.scalars[f"{WORTH_OF}agent-{place}"] for place in range(len(deltas))]
    return update, worths, state


def rule(method="shapley", **settings):
    return rc.Contributions(validation=VALIDATION, method=method, **settings)


def test_worths_of_two_by_hand():
    """Alone, (1, 1) lowers the loss from 1 to 0 and (0, 0) by nothing; together, (.5, .5), they lower it to 1/4.

    So the first is worth (1 + 3/4) / 2 and the second (0 - 1/4) / 2.
    """
    for method in ("shapley", "gtg"):
        update, worths, _ = merged(rule(method, truncate=0.0), [1.0, 1.0], [0.0, 0.0])
        assert worths == pytest.approx([0.875, -0.125])
        assert update.vectors["delta"].tolist() == [0.5, 0.5]
    assert merged(rule("leave_one_out"), [1.0, 1.0], [0.0, 0.0])[1] == pytest.approx([0.75, -0.25])
    assert merged(rule("similarity"), [2.0, 2.0], [-1.0, 0.0], [0.0, 0.0])[1] == pytest.approx([1, -(0.5**0.5), 0])


def test_without_weighing_it_is_the_mean():
    update, _, _ = merged(rule(), [1.0, 0.0], [0.0, 1.0], weights=[3.0, 1.0])
    assert update.vectors["delta"].tolist() == [0.75, 0.25]
    uniform, _, _ = merged(rule(rule=rc.Mean()), [1.0, 0.0], [0.0, 1.0])
    assert uniform.vectors["delta"].tolist() == [0.5, 0.5]


def test_the_weights_of_the_mean_count():
    collected = rule(rule=rc.Mean("uniform")).collect(Update("a", 7.0, {"delta": torch.ones(2)}), None)
    assert [update.weight for update in collected.updates] == [1.0]


def test_weighing_goes_by_what_agents_added_so_far():
    """The one that adds nothing counts 0; where nobody adds anything, all count as they did."""
    weighing = rule("leave_one_out", weigh=True)
    first, _, state = merged(weighing, [1.0, 1.0], [0.0, 0.0])
    assert first.vectors["delta"].tolist() == [1.0, 1.0]
    assert [first.scalars[f"{WEIGHT_OF}agent-{place}"] for place in range(2)] == [1.0, 0.0]
    second, _, _ = merged(weighing, [0.0, 0.0], [1.0, 1.0], state=state)  # worths so far: 1/4 each
    assert second.vectors["delta"].tolist() == [0.5, 0.5]
    nobody, _, _ = merged(weighing, [-1.0, -1.0], [-1.0, -1.0])
    assert nobody.vectors["delta"].tolist() == [-1.0, -1.0]


def test_a_run_finds_the_free_rider_and_says_so():
    """On digits that are dealt out alike, with one of six that does not train."""
    learner = rc.SGD(lr=0.1, epochs=1, batch_size=16)
    made = digits(learner, rule("gtg", rule=rc.Mean("uniform")), rounds=4, attack=rc.Attack("free_rider", 1))
    shards = rc.data.Digits("train").split(rc.IID(6))
    agents = tuple(rc.Agent(f"agent-{place}", shard, learner) for place, shard in enumerate(shards))
    made = replace(made, agents=rc.Parties(agents))
    run = train(made)
    (bad,) = made.misbehaving()
    for report in run.reports:
        worth = {row.agent: row.contribution for row in report.agents}
        assert min(worth, key=worth.get) == bad
    assert any(f"{bad} adds little" in note for note in run.reports[-1].notes)
    assert not any("adds little" in note for note in run.reports[0].notes)
    row = run.folder.rows()[-1]["agent_rows"][0]
    assert row["standing"] == pytest.approx(
        sum(report.agents[0].contribution for report in run.reports) / len(run.reports), abs=1e-12
    )


def test_copies_are_named():
    made = digits(ONE_STEP, rule("similarity"), num_agents=5, rounds=1, attack=rc.Attack("mimic", 1))
    (bad,) = made.misbehaving()
    clean = train(replace(made, attack=rc.Attack()))
    assert not any("like each other" in note for note in clean.reports[0].notes)
    rows = [AgentReport("a", alike=0.5), AgentReport("b", alike=1.0), AgentReport("c", alike=1.0)]
    assert round_notes(rows, 1) == [
        "b, c sent updates like each other's (cosine >= 0.999): copies count once too often"
    ]
    assert bad.startswith("agent-")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": rc.Median()}, "must be a Mean: a coalition of agents is worth what its weighted mean is"),
        ({"rule": rc.Mean(exact=True)}, "must not be exact"),
        ({"method": "banzhaf"}, r"Contributions.method='banzhaf': must be one of"),
        ({"truncate": 1.0}, r"Contributions.truncate=1.0: must be in \[0, 1\)"),
        ({"validation": "val.parquet"}, "must be a Source"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        rc.Contributions(**{"validation": VALIDATION, **settings})


def test_too_many_agents_for_exact_values_are_refused_before_the_run_and_in_a_round():
    with pytest.raises(ConfigError, match=r"a round brings 9 updates, and 8 are the most.*set method='gtg'"):
        digits(ONE_STEP, rule(), num_agents=9).resolved()
    updates = tuple(Update(str(place), 1.0, {"delta": torch.ones(2)}) for place in range(9))
    with pytest.raises(UpdateError, match="9 updates, and method='shapley' takes 8"):
        rule().check(Stack(9, updates))
