from dataclasses import dataclass, replace

import pytest
import torch

from raycollab.agent import Agent
from raycollab.aggregation import Mean, add_up
from raycollab.data import Arrays
from raycollab.errors import ConfigError, QuorumError, UpdateError
from raycollab.learners import SGD
from raycollab.types import Round, Update

from ..contracts.support import ONE_STEP, Quadratic, Training, digits, experiment, train

PARAMS = torch.zeros(2)
ROUND = Round(1, 0, 0, {"params": PARAMS})


def merged(rule, *updates):
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, rule.init(PARAMS), PARAMS, seed=0)


def of(name, weight, *values):
    return Update(name, weight, {"delta": torch.tensor(values)})


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Mean(), [3.0, 0.0]),  # (1 * 0 + 3 * 4) / 4
        (Mean("uniform"), [2.0, 0.0]),
        (Mean(by_agent={"a": 3.0, "b": 1.0}), [1.0, 0.0]),
        (Mean(by_agent={"a": 0.5}), [0.0, 0.0]),  # b is not named
    ],
)
def test_by_hand(rule, expected):
    update, state = merged(rule, of("a", 1.0, 0.0, 0.0), of("b", 3.0, 4.0, 0.0))
    assert update.vectors["delta"].tolist() == expected
    assert state == {}


def test_tokens_by_hand():
    """Counted 3 and 1: (3 * 0 + 1 * 4) / 4, whatever their numbers of examples; a discount still counts."""
    some = [
        replace(of("a", 1.0, 0.0, 0.0), scalars={"counted": 3.0}),
        replace(of("b", 3.0, 4.0, 0.0), scalars={"counted": 1.0}),
    ]
    assert merged(Mean("tokens"), *some)[0].vectors["delta"].tolist() == [1.0, 0.0]
    late = replace(some[1], discount=0.5)
    assert merged(Mean("tokens"), some[0], late)[0].vectors["delta"][0] == pytest.approx(4 * 0.5 / 3.5)
    assert Mean("tokens").needs == ("counted",)
    assert Mean().needs == Mean("tokens", by_agent={"a": 1.0}).needs == ()


@dataclass(frozen=True)
class Texts(Quadratic):
    """A task that counts tokens."""

    def count(self, batch):
        return int(batch["tokens"].sum())


@pytest.mark.parametrize(
    ("rule", "weights"),
    [
        (Mean("tokens"), (12, 36)),  # both passes
        (Mean(scalar="counted"), (12, 36)),
        (Mean(), (6, 2)),
        (Mean("uniform"), (1, 1)),
        (Mean(by_agent={"agent-0": 0.5, "agent-1": 1.5}), (0.5, 1.5)),
    ],
    ids=lambda value: repr(value) if isinstance(value, Mean) else "",
)
def test_a_run_by_what_the_task_counts(rule, weights):
    """Agent 0 has six texts of a token each, agent 1 two of nine: each goes its own mean gradient of a full batch.

    The weights stand in agents.parquet as they were used.
    """
    held = [
        {"x": torch.full((rows, 4), goal), "a": torch.ones(rows, 4), "tokens": torch.full((rows,), tokens)}
        for rows, goal, tokens in ((6, 1.0, 1), (2, -1.0, 9))
    ]
    learner = SGD(lr=0.1, steps=2, batch_size=100)
    agents = [Agent(f"agent-{i}", Arrays(columns), learner, val_fraction=0.0) for i, columns in enumerate(held)]
    done = train(experiment(agents, rule, task=Texts(), test=Arrays(held[0]), rounds=1))
    moved = 0.1 + 0.1 * 0.9  # two steps from 0 to a goal of 1
    expected = moved * (weights[0] - weights[1]) / sum(weights)
    torch.testing.assert_close(done.params, torch.full((4,), expected))
    assert [agent.examples for agent in done.reports[0].agents] == [12, 36]  # both passes
    assert tuple(row["weight"] for row in done.folder.rows()[0]["agent_rows"]) == weights


def test_nobody_with_weight_took_part():
    with pytest.raises(UpdateError, match="the weights of 1 updates sum to 0"):
        merged(Mean(by_agent={"north": 1.0}), of("south", 3.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "rows"}, r"Mean.weights='rows': must be one of \('examples', 'tokens', 'uniform'\)"),
        (
            {"by_agent": {"a": -1.0, "b": 2.0}},
            r"Mean.by_agent={'a': -1.0, 'b': 2.0}: weights must be >= 0, finite and not all zero",
        ),
        ({"by_agent": {"a": 0.0}}, "not all zero"),
        ({"by_agent": {}}, "not all zero"),
        ({"by_agent": {"a": float("nan")}}, "must be >= 0"),
        ({"by_agent": {"a": float("inf")}}, "must be >= 0, finite"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Mean(**settings)


def test_a_name_that_no_agent_has_is_refused_before_the_run():
    with pytest.raises(
        ConfigError, match=r"Mean.by_agent: there is no agent 'agnet-0'; the agents are agent-0, agent-1"
    ):
        digits(ONE_STEP, Mean(by_agent={"agnet-0": 1.0, "agent-1": 1.0}), num_agents=2).resolved()


def test_names_that_are_no_text_are_refused():
    """As YAML reads {0: 1.0}."""
    with pytest.raises(ConfigError, match=r"Mean.by_agent: the name 0 is no text; write it in quotes, as '0'"):
        Mean(by_agent={0: 1.0, "agnet-1": 1.0})


def test_a_round_of_agents_without_weight_is_refused_before_the_run():
    """Two of three without weight: a round of two may bring just these, one of three cannot."""
    rule = Mean(by_agent={"agent-0": 1.0, "agent-1": 0.0})
    with pytest.raises(
        ConfigError, match=r"a round can bring as few as 2 updates, all of .* weight 0: agent-1, agent-2;"
    ):
        digits(ONE_STEP, rule, num_agents=3, run={"agents_per_round": 2}).resolved()
    digits(ONE_STEP, rule, num_agents=3).resolved()


@dataclass(frozen=True, kw_only=True)
class FailsUntil(SGD):
    """Fails in the first attempts at a round."""

    attempt: int

    def update(self, problem, params, state, round):
        if round.attempt < self.attempt:
            raise MemoryError(f"attempt {round.attempt}")
        return super().update(problem, params, state, round)


@pytest.mark.parametrize("attempt", [0, 1, 2, 3])
def test_a_round_in_which_nobody_with_weight_answered_is_done_again(attempt):
    learners = [FailsUntil(attempt=attempt, steps=1), ONE_STEP]
    training = Training(digits(learners, Mean(by_agent={"agent-0": 1.0}), num_agents=2))
    if attempt < 3:
        assert training.steps(1).reports[0].attempts == attempt + 1
        return
    message = (
        r"round 1: 1 of 2 agents answered in the last of 3 attempts, the weights of 1 updates sum to 0.0: at least one "
        r"must be positive; first failure: agent 'agent-0': .*attempt 0"
    )
    with pytest.raises(QuorumError, match=message):
        training.steps(1)
