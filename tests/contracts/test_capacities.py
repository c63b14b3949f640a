"""Agents that hold parts of one net, by width and by depth: the laws of runs hold for them as for all others."""

import random
from dataclasses import replace

import pytest
import torch

import raycollab as rc
import raycollab.runtime.pool
from raycollab.checkpoint import load_state
from raycollab.models import CNN, MLP, EarlyExits, UpTo, Width
from raycollab.runtime.host import Host
from raycollab.runtime.layout import Layout

from .support import DIGITS, TEST, Training, experiment, train
from .test_laws_of_runs import tensors_of
from .test_parts_of_a_model import Only

SGD = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2, batch_size=8)
WIDTHS = (None, Width(0.5), Width(0.25, scaled=False))
SLICES = rc.Exchange(slices=True)
NORMED = replace(DIGITS, net=CNN(10, size=8, channels=(4, 6), hidden=5, batch_norm=True))
EXITS = rc.tasks.EarlyExiting(replace(DIGITS, net=EarlyExits(MLP(64, 10, (16, 8)), ("2", "4"))))
CASES = {
    "widths": {"holds": WIDTHS},
    "widths of a net with norms": {"holds": WIDTHS, "task": NORMED},
    "widths beside private heads": {"holds": WIDTHS, "exchange": rc.Exchange(exclude=("3.*",), slices=True)},
    "ordered dropout": {
        "holds": (None, Width(0.5)), "task": rc.tasks.OrderedDropout(DIGITS, (0.25, 0.5, 1.0), distil=0.5)
    },
    "depths": {"holds": (None, UpTo("4"), UpTo("2")), "task": EXITS},
    "pruned widths": {"holds": WIDTHS, "chain": (rc.Mean(), rc.Momentum(0.5), rc.Prune(0.4, begin=1, end=3))},
    "control variates": {"holds": WIDTHS, "learner": rc.Scaffold(SGD)},
    "fused steps": {"holds": WIDTHS, "scaling": rc.ScalingConfig(agents_at_once=4), "learner": rc.SGD(lr=0.1, steps=2)},
}  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES)


def capacities(case, *, learner=SGD, holds=WIDTHS, chain=(), task=DIGITS, rounds=4, **settings):
    """Six of eight agents a round, which hold these parts in turn."""
    shards = rc.data.Digits("train").split(rc.Dirichlet(0.5, num_parts=8))
    agents = [
        rc.Agent(f"agent-{i}", shard, learner, holds=holds[i % len(holds)], test=TEST) for i, shard in enumerate(shards)
    ]
    settings = {"exchange": SLICES, **settings}
    run = {"agents_per_round": 6, "eval_every": rounds, "num_blocks": 8, "name": case.replace(" ", "-")}
    return experiment(agents, *chain, task=task, test=TEST, rounds=rounds, run=run, **settings)


@pytest.fixture(scope="module")
def undisturbed():
    known = {}

    def of(case):
        if case not in known:
            known[case] = train(capacities(case, **CASES[case]))
        return known[case]

    return of


@each_case
def test_every_agent_answers_and_all_of_the_model_moves(case, undisturbed):
    done = undisturbed(case)
    assert [len(report.agents) for report in done.reports] == [6] * 4
    start = Training(capacities(case, **CASES[case])).params
    for entry in done.driver.offer.spec.params:
        before, after = (vector[entry.offset : entry.stop] for vector in (start, done.params))
        assert not torch.equal(before, after), entry.name


@each_case
@pytest.mark.parametrize("num_hosts", [2, 8])
def test_grouping(case, num_hosts, undisturbed):
    assert train(capacities(case, **CASES[case]), num_hosts=num_hosts).bits() == undisturbed(case).bits()


@each_case
def test_order(case, undisturbed, monkeypatch):
    shuffled = random.Random(0).sample
    collect, blocks_of = raycollab.runtime.pool.collect, Layout.blocks_of

    def run_shuffled(self, assignments):
        blocks = blocks_of(self, assignments)
        return shuffled(blocks, len(blocks))

    monkeypatch.setattr(Layout, "blocks_of", run_shuffled)
    monkeypatch.setattr(
        raycollab.runtime.pool, "collect", lambda results, *a, **b: collect(shuffled(results, len(results)), *a, **b)
    )
    assert train(capacities(case, **CASES[case]), num_hosts=2).bits() == undisturbed(case).bits()


@each_case
def test_restart(case, undisturbed):
    """Killed on four hosts after round 3, when the newest checkpoint is of round 2."""
    often = capacities(case, **CASES[case], checkpoint=rc.CheckpointConfig(every=2))
    killed = Training(often, num_hosts=4).steps(3)
    resumed = Training(often, folder=killed.folder)
    assert resumed.driver.version == 2
    assert resumed.finish().bits() == undisturbed(case).bits()


def test_private_narrow_heads_never_leave(monkeypatch):
    crossed, run = [], Host.run

    def watched(*arguments):
        result = run(*arguments)
        crossed.extend(tensors_of(result))
        return result

    monkeypatch.setattr(Host, "run", watched)
    case = "widths beside private heads"
    done = train(capacities(case, **CASES[case]), num_hosts=8)
    outside = [tensor.numpy().tobytes() for tensor in (*crossed, *tensors_of(done.driver.state_dict()))]
    heads = [done.remembered(name)["private"]["3.weight"] for name in done.driver.roster.memory]
    assert {tuple(head.shape) for head in heads} == {(10, 16), (10, 8), (10, 4)}
    assert not [1 for head in heads for data in outside if head.numpy().tobytes() in data]
    stored = load_state(done.folder.agents_of(4), "agent-1")
    assert torch.equal(stored["state"]["private"]["3.weight"], done.remembered("agent-1")["private"]["3.weight"])


def test_each_element_is_divided_by_the_weight_that_arrived_for_it():
    """By hand, from each agent trained alone: the innermost quarter is the mean of all, the rest of who has it."""
    together = capacities("hand", learner=rc.SGD(lr=0.1, steps=1, batch_size=8), rounds=1)
    members = together.agents.members[:3]
    together = replace(
        together, agents=rc.Parties(members), run=replace(together.run, agents_per_round=3, num_blocks=None)
    )
    start, done = Training(together).params, train(together)
    place = next(entry for entry in done.driver.offer.spec.params if entry.name == "1.weight")
    moved = [
        (
            train(replace(together, select=Only((agent.name,)), run=replace(together.run, agents_per_round=1))).params
            - start
        )
        for agent in members
    ]
    rows = [vector[place.offset : place.stop].view(place.shape) for vector in (*moved, done.params - start)]
    weights = torch.tensor([card.examples for card in done.cards], dtype=torch.float32)
    for first, stop, held in ((0, 4, 3), (4, 8, 2), (8, 16, 1)):
        expected = sum(w * row[first:stop] for w, row in zip(weights, rows[:held], strict=False)) / weights[:held].sum()
        torch.testing.assert_close(rows[3][first:stop], expected, rtol=1e-4, atol=1e-6)
    assert not torch.equal(rows[0][:4], rows[1][:4])
    assert rows[1][8:].count_nonzero() == 0
