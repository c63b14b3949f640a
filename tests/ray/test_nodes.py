"""Nodes that die, and a Ray that loses calls: in clusters of their own, each in another process."""

import pytest

from benchmarks.chaos.faults import LOST_CALLS, SEVERAL_NODES, Fault
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.running import played

pytestmark = pytest.mark.ray


def faults(*hits):
    """Faults of these kinds, of these agents, in their fourth step."""
    return [Fault(number, kind, agent, 1, 4, 0.0, 0) for number, (kind, agent) in enumerate(hits)]


def failures(place, agent):
    """Of an agent, in the order of the rounds."""
    rows = Ledger(str(place / "ledger")).rows("rounds.jsonl")
    return [what for row in rows for name, what in row["failures"] if name == agent]


@pytest.mark.long
def test_a_node_that_dies_costs_its_agents_one_round(tmp_path):
    """While one trains, and with a result that nobody has fetched yet; the driver lives where it was started."""
    hits = [("node", 0), ("lost-object", 1), ("node", 2)]
    outcomes, rest = played(SEVERAL_NODES, faults(*hits), 0, 1, tmp_path / "run")
    assert not rest
    assert [(each.kind, each.missed, each.wrong) for each in outcomes] == [(kind, 1, 0) for kind, _ in hits]
    assert not any(each.hang or each.ended for each in outcomes)
    assert failures(tmp_path / "run", "agent-0")[0].startswith("ActorDiedError")
    assert failures(tmp_path / "run", "agent-1")[0].startswith("ObjectReconstructionFailedError")
    assert Ledger(str(tmp_path / "run" / "ledger")).rows("notices.jsonl") == []


@pytest.mark.long
def test_calls_and_answers_that_are_lost_change_no_bit(tmp_path):
    """Whether the call or its answer was lost cannot be told: the agent misses the round and starts again."""
    outcomes, rest = played(LOST_CALLS, faults(*[("lost-call", 0)] * 2), 0, 1, tmp_path / "run")
    assert not rest
    assert [(each.wrong, each.hang, each.ended) for each in outcomes] == [(0, False, False)] * 2
    said = [what for agent in ("agent-0", "agent-1", "agent-2") for what in failures(tmp_path / "run", agent)]
    assert any("RpcError" in what for what in said)
