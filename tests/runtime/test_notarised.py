"""Sums with an update that its party did not sign are refused; whatever else a host sent counts."""

from dataclasses import replace

import pytest
import torch

from raycollab.aggregation import Mean, Node, Stack, add_up
from raycollab.keys import new_key
from raycollab.ledger import Notary, Signer
from raycollab.runtime.layout import Block
from raycollab.runtime.notarised import notarised
from raycollab.runtime.sharing import ShareResult
from raycollab.types import AgentReport, Assignment, Round, Update

ROUND = Round(3, 0, 2, {}, ledger="e" * 64)
SHARE = tuple(Block(place, (Assignment(name, 2),)) for place, name in enumerate("ab"))
PRESENT = [0, 1]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("keys"))
    return {name: new_key(name, folder) for name in "ab"}


@pytest.fixture
def notary(keys):
    return Notary("run", "task", {name: key.public for name, key in keys.items()})


def update(name):
    return Update(name, 1.0, {"delta": torch.ones(4) * ord(name)})


def report(keys, name, round=ROUND):
    receipt = Signer(name, keys[name], "run", "task").receipt(update(name), round, learned=2.0, sent=2.0)
    return AgentReport(name, receipt=receipt)


def result(keys, rule=None, **reports):
    made = {name: reports.get(name) or report(keys, name) for name in "ab"}
    rule = rule or Mean()
    nodes = tuple(Node(0, place, rule.collect(update(name), ROUND)) for place, name in enumerate("ab"))
    return ShareResult(nodes, tuple(made.values()), (), (3, 0, 2))


def refused(found):
    return {failure.agent: failure.message for failure in found.failures}


def test_what_everybody_signed_comes_through_as_it_is(keys, notary):
    good = result(keys)
    assert notarised(good, SHARE, PRESENT, ROUND, notary, as_sent=True) is good
    assert notarised(good, SHARE, PRESENT, ROUND, None, as_sent=True) is good


def test_a_replayed_update_costs_its_party_the_round_and_nobody_else(keys, notary):
    old = report(keys, "b", replace(ROUND, index=2))
    found = notarised(result(keys, b=old), SHARE, PRESENT, ROUND, notary, as_sent=True)
    assert list(refused(found)) == ["b"]
    assert "agent 'b' round 3: its signature is not under this update of this round" in refused(found)["b"]
    assert [each.agent for each in found.reports] == ["a"]
    assert [node.partial is None for node in found.nodes] == [False, True]


def test_in_a_sum_that_cannot_be_taken_apart_all_are_lost(keys, notary):
    whole = add_up(Mean().collect(update(name), ROUND) for name in "ab")
    made = replace(result(keys, b=AgentReport("b")), nodes=(Node(1, 0, whole),))
    found = notarised(made, SHARE, PRESENT, ROUND, notary, as_sent=True)
    assert sorted(refused(found)) == ["a", "b"]
    assert "agent 'b' round 3: its update is not signed" in refused(found)["a"]


def test_updates_that_arrive_by_themselves_are_held_against_what_was_signed(keys, notary):
    """As a host could send another one than its party signed; a codec changes them on purpose."""
    other = Stack.of(replace(update("b"), vectors={"delta": torch.zeros(4)}))
    made = result(keys)
    made = replace(made, nodes=(Node(0, 0, Stack.of(update("a"))), Node(0, 1, other)))
    found = notarised(made, SHARE, PRESENT, ROUND, notary, as_sent=True)
    assert refused(found) == {"b": "agent 'b' round 3: what arrived is not what it signed; it is refused"}
    assert notarised(made, SHARE, PRESENT, ROUND, notary, as_sent=False) is made
