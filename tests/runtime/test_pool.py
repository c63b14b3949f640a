from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from raycollab import vectors
from raycollab.agent import Agent
from raycollab.aggregation import Mean, Node, WeightedSum
from raycollab.chains import chain
from raycollab.codecs import Codec
from raycollab.data import Arrays
from raycollab.learners import SGD
from raycollab.models import MLP
from raycollab.offer import Offer
from raycollab.params import Exchange
from raycollab.runtime.layout import Block, Layout
from raycollab.runtime.pool import Collected, LocalPool, collect
from raycollab.runtime.session import Session, build_model
from raycollab.runtime.sharing import ShareResult, Shares
from raycollab.spec import BUFFERS, DELTA, PARAMS
from raycollab.storage import Storage
from raycollab.tasks import Classification
from raycollab.types import AgentReport, Assignment, Failure, Round, Update

TASK = Classification(MLP(3, 2, (300,)), 2)
NAMES = tuple(f"a{i}" for i in range(6))


@dataclass(frozen=True)
class Coarse(Codec):
    """Rounds to quarters."""

    def encode(self, vector, *, seed):
        return {"quarters": (vector * 4).round().to(torch.int8).numpy()}

    def decode(self, arrays):
        return torch.from_numpy(arrays["quarters"].astype(np.float32)) / 4


def agents(momentum=0.0):
    generator = torch.Generator().manual_seed(0)
    learner = SGD(lr=0.1, momentum=momentum, keep_momentum=momentum > 0)
    shards = [Arrays({"features": torch.randn(8, 3, generator=generator), "label": torch.arange(8) % 2}) for _ in NAMES]
    return [Agent(name, shard, learner, val_fraction=0.25) for name, shard in zip(NAMES, shards, strict=True)]


def pool(num_hosts=1, num_blocks=6, codec=None, momentum=0.0, **session):
    made = LocalPool(
        Session(0, TASK, chain(Mean()), Exchange(), broadcast=codec, upload=codec, **session),
        agents(momentum),
        Layout(NAMES, num_hosts, num_blocks),
    )
    model = build_model(TASK, Exchange(), 0)
    offer = Offer(TASK.fingerprint(model.spec), model.spec)
    cards = made.open(offer)
    vectors = {PARAMS: model.read(), BUFFERS: model.read_buffers()}
    return made, Round(1, 0, 0, vectors, fingerprint=offer.fingerprint.digest()), cards


def work(*names, last_round=0):
    return [Assignment(name, 0, last_round) for name in names]


def result(index, weight, failed=()):
    partial = WeightedSum.of(Update(str(index), weight, {DELTA: torch.tensor([float(index)])})) if weight else None
    reports = (AgentReport(f"r{index}"),) if weight else ()
    failures = tuple(Failure(name, "E", "x") for name in failed)
    return ShareResult((Node(0, index, partial),), reports, failures, (0, 0, 0))


def named(*members, first=0):
    return [Block(first + index, tuple(work(*names))) for index, names in enumerate(members)]


def test_collect_adds_in_the_order_of_blocks_whatever_the_order_of_arrival():
    results = [result(2, 1.0), result(0, 3.0, ["f0"]), result(1, 0.0, ["f1"])]
    for order in (results, results[::-1]):
        got = collect(order, named(["r0", "f0"], ["f1"], ["r2"]), bytes_up=10, bytes_down=20)
        assert got.total.mean().vectors[DELTA].tolist() == [0.5]
        assert [report.agent for report in got.reports] == ["r0", "r2"]
        assert [failure.agent for failure in got.failures] == ["f0", "f1"]
        assert (got.bytes_up, got.bytes_down) == (10, 20)
    assert collect([], [], bytes_up=0, bytes_down=0).total is None


def test_two_collections_together():
    nothing = Collected(None, (), (), 0, 0)
    one = collect([result(0, 1.0)], named(["r0"]), bytes_up=1, bytes_down=2)
    other = collect([result(1, 1.0, ["f"])], named([], ["r1", "f"]), bytes_up=3, bytes_down=4)
    both = nothing.plus(one).plus(other).plus(nothing)
    assert both.total.mean().vectors[DELTA].tolist() == [0.5]
    assert (len(both.reports), len(both.failures), both.bytes_up, both.bytes_down) == (2, 1, 4, 6)


@pytest.mark.parametrize(
    ("session", "momentum", "expected"),
    [({}, 0.0, False), ({"simulated": True}, 0.0, True), ({"simulated": True}, 0.9, False)],
)
def test_who_remembers_something_stays_where_it_is(session, momentum, expected):
    made, _, _ = pool(momentum=momentum, **session)
    assert made._layout.anywhere == expected


def test_two_collections_of_long_vectors_together(monkeypatch):
    """Neither is worked out before both are added; several cores work through them."""
    monkeypatch.setattr(vectors, "_cores", 4)
    size = 5 * vectors.SLICE

    def long(index):
        partial = WeightedSum.of(Update(str(index), 1.0, {DELTA: torch.full((size,), float(index))}))
        return ShareResult((Node(0, index, partial),), (AgentReport(f"r{index}"),), (), (0, 0, 0))

    pairs = [
        collect([long(i), long(i + 1)], named([f"r{i}"], [f"r{i + 1}"], first=i), bytes_up=0, bytes_down=0)
        for i in (0, 2)
    ]
    assert torch.equal(pairs[0].plus(pairs[1]).total.mean().vectors[DELTA], torch.full((size,), 1.5))


def test_cards_come_in_the_order_of_the_agents():
    for hosts in (1, 4):
        assert [card.agent for card in pool(hosts)[2]] == list(NAMES)


@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize("codec", [None, Coarse()])
@pytest.mark.parametrize("hosts", [2, 3, 6])
def test_the_number_of_hosts_changes_nothing(hosts, codec, simulated):
    merged = []
    for count in (1, hosts):
        made, round, _ = pool(count, codec=codec, simulated=simulated)
        got = made.run(round, work(*NAMES))
        merged.append(got.total.mean().vectors[DELTA])
        assert got.bytes_down > 0
    assert torch.equal(*merged)


def clocked(*lasts):
    """Shares of blocks that last this long, whatever they took."""
    return lambda blocks, seconds_of, **settings: Shares(blocks, lambda block: lasts[block.index], **settings)


def test_shares_in_another_order_change_nothing(monkeypatch):
    """By one clock each host takes all of its blocks at once, by the other its longest share first: the same bits."""
    merged = []
    for clock in (clocked(*[0.0] * 6), clocked(0.3, 0.3, 9.0, 0.2, 0.4, 3.0)):
        monkeypatch.setattr("raycollab.runtime.pool.Shares", clock)
        made, round, _ = pool(num_hosts=2)
        merged.append(made.run(round, work(*NAMES)).total.mean().vectors[DELTA])
    assert torch.equal(*merged)


def test_bytes_are_what_crosses():
    """Down: the vectors once a host; up: what each host could add up."""
    made, round, _ = pool(num_hosts=2, num_blocks=3)
    size = 4 * round.vectors[PARAMS].numel()
    got = made.run(round, work(*NAMES))
    assert got.bytes_down == 2 * size
    assert got.bytes_up == 2 * size
    assert made.run(round, work("a0")).bytes_down == size


def test_a_codec_makes_it_smaller_and_what_it_loses_is_lost():
    made, round, _ = pool(codec=Coarse())
    got = made.run(round, work("a0"))
    assert got.bytes_down == round.vectors[PARAMS].numel()
    delta = got.total.mean().vectors[DELTA] * 6  # weight
    assert torch.equal(delta, (delta * 4).round() / 4)


def test_agents_score_what_crossed_the_wire():
    made, round, _ = pool(codec=Coarse())
    plain, _, _ = pool()
    rough = replace(round, vectors={**round.vectors, PARAMS: (round.vectors[PARAMS] * 4).round() / 4})
    assert made.validate(round, {"a0": 0})()["a0"] == plain.validate(rough, {"a0": 0})()["a0"]
    assert made.validate(round, {"a0": 0})()["a0"] != plain.validate(round, {"a0": 0})()["a0"]


def test_validate_asks_those_who_are_named():
    made, round, _ = pool(num_hosts=3)
    assert set(made.validate(round, {"a5": 0, "a1": 0})()) == {"a1", "a5"}


def test_save_and_restore_over_another_number_of_hosts(tmp_path):
    made, round, _ = pool(num_hosts=3, momentum=0.9)
    made.run(round, work(*NAMES))
    write = made.save(Storage(str(tmp_path)), dict.fromkeys(NAMES, 1))
    second = replace(round, index=2)
    expected = made.run(second, work(*NAMES, last_round=1))  # goes on before what it began with is written
    assert write() == []
    other, _, _ = pool(num_hosts=1, momentum=0.9)
    other.restore(Storage(str(tmp_path)), list(NAMES))
    got = other.run(second, work(*NAMES, last_round=1))
    assert torch.equal(got.total.mean().vectors[DELTA], expected.total.mean().vectors[DELTA])
    assert not any(report.fresh for report in got.reports)
