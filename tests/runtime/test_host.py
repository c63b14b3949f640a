from dataclasses import dataclass, replace

import pytest
import torch

from raycollab.agent import Agent
from raycollab.aggregation import Mean, Median
from raycollab.chains import chain
from raycollab.codecs import BFloat16
from raycollab.data import Arrays, Parquet
from raycollab.errors import UpdateError
from raycollab.learners import SGD, Learner
from raycollab.metrics import Statistics
from raycollab.models import MLP
from raycollab.offer import Offer
from raycollab.params import Exchange
from raycollab.runtime.host import Host
from raycollab.runtime.layout import Block
from raycollab.runtime.session import Session, build_model
from raycollab.spec import BUFFERS, DELTA, PARAMS
from raycollab.storage import Storage
from raycollab.tasks import Classification
from raycollab.types import AgentCard, Assignment, Failure, Round

TASK = Classification(MLP(3, 2, (4,)), 2)


@dataclass(frozen=True)
class Raises(Learner):
    """Raises what it is given."""

    error: Exception

    def update(self, problem, params, state, round):
        raise self.error


@dataclass(frozen=True)
class Noisy(SGD):
    """Adds noise from torch's global stream, as dropout does."""

    def update(self, problem, params, state, round):
        update, state = super().update(problem, params, state, round)
        return update.with_vectors(delta=torch.randn_like(update.vectors[DELTA])), state


def data(seed, n=10):
    generator = torch.Generator().manual_seed(seed)
    return Arrays({"features": torch.randn(n, 3, generator=generator), "label": torch.arange(n) % 2})


def agents(*learners):
    return [Agent(f"a{i}", data(i), learner) for i, learner in enumerate(learners)]


def session(rule=Mean(), exchange=Exchange(), seed=0):  # noqa: B008 - frozen
    return Session(seed, TASK, chain(rule), exchange)


def offer(exchange=Exchange(), seed=0):  # noqa: B008 - frozen
    model = build_model(TASK, exchange, seed)
    return model, Offer(TASK.fingerprint(model.spec), model.spec)


def first_round(model, made, index=1, attempt=0):
    vectors = {PARAMS: model.read(), BUFFERS: model.read_buffers()}
    return Round(index, 0, index - 1, vectors, fingerprint=made.fingerprint.digest(), attempt=attempt)


def opened(learners, **settings):
    exchange = settings.get("exchange", Exchange())
    model, made = offer(exchange)
    host = Host(session(**settings), agents(*learners))
    outcomes = host.open(made)
    return host, first_round(model, made), outcomes


def block(*names, last_round=0):
    return (Block(0, tuple(Assignment(name, 0, last_round) for name in names)),)


def ran(host, round, share):
    """What came of a share that has one sum, and that sum."""
    result = host.run(round, share, [0])
    (node,) = result.nodes
    return result, node.partial


def test_the_initial_weights_depend_on_the_runs_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build_model(TASK, Exchange(), 3).read()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(build_model(TASK, Exchange(), 3).read(), first)
    assert not torch.equal(build_model(TASK, Exchange(), 4).read(), first)


def test_open_gives_a_card_or_a_failure_for_each():
    _, made = offer()
    broken = [Agent("lost", Parquet("/nowhere/x.parquet"), SGD()), Agent("other", data(0), SGD(), approves="1")]
    outcomes = Host(session(), [*agents(SGD()), *broken]).open(made)
    assert [type(outcome) for outcome in outcomes] == [AgentCard, Failure, Failure]
    assert outcomes[1].error == "DataError"
    assert outcomes[1].message.startswith("agent 'lost': /nowhere/x.parquet: no file there")
    assert outcomes[2].error == "TaskMismatchError"


def test_a_block_is_the_sum_of_its_agents():
    host, round, _ = opened([SGD(), SGD(lr=0.5), SGD()])
    together, total = ran(host, round, block("a0", "a1"))
    (_, first), (_, second) = (ran(host, round, block(name)) for name in ("a0", "a1"))
    assert torch.equal(total.mean().vectors[DELTA], (first + second).mean().vectors[DELTA])
    assert [report.agent for report in together.reports] == ["a0", "a1"]
    assert (total.count, together.failures, together.made_in) == (2, (), (1, 0, 0))
    assert together.seconds > 0


def test_blocks_are_added_pair_by_pair():
    """Three of five blocks: the first two are neighbours in the tree, the last one is by itself."""
    host, round, _ = opened([SGD(lr=rate) for rate in (0.1, 0.2, 0.3)])
    share = tuple(Block(index, block(f"a{place}")[0].assignments) for place, index in enumerate((0, 1, 4)))
    result = host.run(round, share, [0, 1, 2, 3, 4])
    alone = [ran(host, round, block(f"a{place}"))[1] for place in range(3)]
    assert [(node.level, node.index) for node in result.nodes] == [(1, 0), (2, 1)]
    for node, expected in zip(result.nodes, (alone[0] + alone[1], alone[2]), strict=True):
        assert torch.equal(node.partial.mean().vectors[DELTA], expected.mean().vectors[DELTA])


def test_a_codec_writes_every_block_by_itself():
    """What a codec loses may not depend on which host adds up what."""
    model, made = offer()
    host = Host(replace(session(), upload=BFloat16()), agents(SGD(), SGD()))
    host.open(made)
    share = (*block("a0"), Block(1, block("a1")[0].assignments))
    assert [(n.level, n.index) for n in host.run(first_round(model, made), share, [0, 1]).nodes] == [(0, 0), (0, 1)]


def test_simulated_agents_are_opened_when_they_are_needed():
    model, made = offer()
    broken = Agent("lost", Parquet("/nowhere/x.parquet"), SGD())
    host = Host(replace(session(), simulated=True), [*agents(SGD(), SGD()), broken])
    assert [card.agent for card in host.open(made, ["a1"])] == ["a1"]
    everybody, _, _ = opened([SGD(), SGD()])
    round = first_round(model, made)
    assert torch.equal(
        ran(host, round, block("a0", "a1"))[1].mean().vectors[DELTA],
        ran(everybody, round, block("a0", "a1"))[1].mean().vectors[DELTA],
    )
    assert [failure.error for failure in host.run(round, block("lost"), [0]).failures] == ["DataError"]
    assert isinstance(host.validate(round.vectors, {"lost": 0}, 0)["lost"], Failure)


def test_guests_are_closed_once_they_are_too_many(monkeypatch):
    """With room for two, who was opened first is opened anew when it is needed again, to the same bits; the host's own
    agent is never closed.
    """
    monkeypatch.setattr("raycollab.runtime.host._MOST_GUESTS", 2)
    opened, read = [], Arrays.read
    monkeypatch.setattr(Arrays, "read", lambda self: opened.append(self.name) or read(self))
    named = [replace(agent, shard=Arrays(agent.shard.read(), agent.name)) for agent in agents(*[SGD()] * 5)]
    model, made = offer()
    host = Host(replace(session(), simulated=True), named)
    host.open(made, ["a0"])
    opened.clear()
    round = first_round(model, made)
    first = ran(host, round, block("a1"))[1]
    for name in ("a0", "a2", "a3", "a2", "a0"):
        ran(host, round, block(name))
    assert opened == ["a1", "a2", "a3"]
    again = ran(host, round, block("a1"))[1]
    assert opened == ["a1", "a2", "a3", "a1"]
    assert torch.equal(again.mean().vectors[DELTA], first.mean().vectors[DELTA])
    ran(host, round, block("a3"))
    ran(host, round, block("a2"))  # whose place a1 had taken
    assert opened == ["a1", "a2", "a3", "a1", "a2"]


@pytest.mark.parametrize("rule", [Mean(), Median()])
def test_a_failing_agent_costs_itself_alone(rule):
    host, round, _ = opened(
        [SGD(), Raises(ZeroDivisionError("by zero")), Raises(UpdateError("too long")), SGD()], rule=rule
    )
    result, total = ran(host, round, block("a0", "a1", "a2", "a3"))
    assert [report.agent for report in result.reports] == ["a0", "a3"]
    assert result.failures == (
        Failure("a1", "ZeroDivisionError", "ZeroDivisionError: by zero"),
        Failure("a2", "UpdateError", "too long"),
    )
    assert torch.equal(
        rule.update(total, {}, round.vectors[PARAMS], seed=0)[0].vectors[DELTA],
        rule.update(ran(host, round, block("a0", "a3"))[1], {}, round.vectors[PARAMS], seed=0)[0].vectors[DELTA],
    )


def test_a_block_in_which_all_fail_has_no_partial():
    host, round, _ = opened([Raises(ValueError("x"))])
    result, total = ran(host, round, block("a0"))
    assert total is None
    assert result.reports == ()
    assert len(result.failures) == 1


def test_an_agent_that_never_opened_fails():
    host, round, _ = opened([SGD()])
    assert [failure.agent for failure in host.run(round, block("a0", "nobody"), [0]).failures] == ["nobody"]


def test_neighbours_and_order_do_not_matter_to_an_agent():
    """Same bits alone, behind another one, and with noise from the global stream."""
    results = []
    for names in (("a0",), ("a1", "a0"), ("a0", "a1")):
        host, round, _ = opened([Noisy(), Noisy()])
        torch.rand(len(results) * 3)
        before = torch.get_rng_state()
        parts = {name: ran(host, round, block(name))[1].mean().vectors[DELTA] for name in names}
        assert torch.equal(torch.get_rng_state(), before)
        results.append(parts["a0"])
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_threads_are_given_back():
    before = torch.get_num_threads()
    host, round, _ = opened([SGD()])
    host.run(round, block("a0"), [0])
    assert torch.get_num_threads() == before


def test_stop_ends_this_attempt_and_no_later_one():
    host, round, _ = opened([SGD()])
    host.stop(1, 0, 0)
    stopped = host.run(round, block("a0"), [0])
    assert [failure.error for failure in stopped.failures] == ["RoundStopped"]
    assert host.run(replace(round, attempt=1), block("a0"), [0]).failures == ()
    assert host.run(replace(round, base_version=1), block("a0"), [0]).failures == ()  # of the same attempt, begun later
    assert host.run(replace(round, index=2), block("a0"), [0]).failures == ()


def test_validate_scores_each_and_reports_failures():
    host, round, _ = opened([SGD(), SGD()])
    outcomes = host.validate(round.vectors, {"a0": 0, "nobody": 0}, 0)
    assert outcomes["a0"].test == Statistics.empty()
    assert outcomes["a0"].validation.get("confusion").matrix.sum() == 1
    assert isinstance(outcomes["nobody"], Failure)


def test_saved_and_restored_agents_go_on(tmp_path):
    settings = {"exchange": Exchange(exclude=("3.*",))}
    host, round, _ = opened([SGD(momentum=0.9, keep_momentum=True), SGD()], **settings)
    host.run(round, block("a0", "a1"), [0])
    storage = Storage(str(tmp_path))
    host.hold({"a0": 1, "a1": 1, "elsewhere": 1})
    host.write(storage)
    expected = host.run(replace(round, index=2), block("a0", "a1", last_round=1), [0])
    other, _, _ = opened([SGD(momentum=0.9, keep_momentum=True), SGD()], **settings)
    other.restore(storage, ["a0", "a1", "elsewhere"])
    got = other.run(replace(round, index=2), block("a0", "a1", last_round=1), [0])
    assert torch.equal(got.nodes[0].partial.mean().vectors[DELTA], expected.nodes[0].partial.mean().vectors[DELTA])
    assert [report.fresh for report in got.reports] == [False, False]


def test_agents_of_one_task_share_a_model():
    host, _, _ = opened([SGD(), SGD()])
    assert len(host._models) == 1
