"""What parties sign, and what a driver takes from them."""

from dataclasses import replace

import pytest
import torch

from raycollab.errors import UpdateError
from raycollab.keys import new_key
from raycollab.ledger import Notary, Signer
from raycollab.types import AgentReport, Round, Update

ROUND = Round(3, 0, 2, {}, ledger="e" * 64)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("keys"))
    return {name: new_key(name, folder) for name in ("north", "south")}


@pytest.fixture
def notary(keys):
    return Notary("run", "task", {name: key.public for name, key in keys.items()})


def update(value=1.0):
    return Update("north", 2.0, {"delta": torch.full((4,), value)}, {"epsilon": 0.5})


def report(keys, sent=None, key="north", run="run", round=ROUND):
    signer = Signer("north", keys[key], run, "task")
    return AgentReport("north", receipt=signer.receipt(sent or update(), round, learned=4.0, sent=2.0))


def test_what_a_party_signs_is_taken(keys, notary):
    signed = report(keys)
    notary.check(signed, ROUND)
    notary.check_content(update(), signed, ROUND)
    receipt = signed.receipt
    assert (receipt.num_bytes, receipt.weight, receipt.clipped, receipt.epsilon) == (16, 2.0, True, 0.5)
    assert (receipt.base_version, receipt.attempt, receipt.after) == (2, 0, "e" * 64)


def test_an_unknown_and_an_unsigned_party_are_refused_by_name(keys, notary):
    with pytest.raises(UpdateError, match="agent 'north' round 3: it is none of the parties whose keys"):
        Notary("run", "task", {"south": keys["south"].public}).check(report(keys), ROUND)
    for unsigned in (AgentReport("north"), replace(report(keys), receipt=replace(report(keys).receipt, signature=""))):
        with pytest.raises(UpdateError, match="agent 'north' round 3: its update is not signed"):
            notary.check(unsigned, ROUND)


@pytest.mark.parametrize(
    "other",
    [
        {"round": replace(ROUND, index=2)},
        {"round": replace(ROUND, attempt=1)},
        {"round": replace(ROUND, base_version=1)},
        {"round": replace(ROUND, ledger="d" * 64)},
        {"run": "another run"},
        {"key": "south"},
    ],
)
def test_a_signature_under_something_else_is_refused(keys, notary, other):
    with pytest.raises(UpdateError, match="its signature is not under this update of this round"):
        notary.check(report(keys, **other), ROUND)


def test_each_thing_that_is_signed_counts(keys, notary):
    signed = report(keys)
    changes = {"digest": "0", "norm": 1.0, "weight": 9.0, "num_bytes": 1, "clipped": False, "epsilon": 0.1}
    for name, value in changes.items():
        with pytest.raises(UpdateError, match="its signature is not under this update"):
            notary.check(replace(signed, receipt=replace(signed.receipt, **{name: value})), ROUND)


def test_a_replayed_update_is_refused_but_a_round_that_is_done_again_is_not(keys, notary):
    signed = report(keys)
    notary.saw("north", signed.receipt.digest, 2)
    with pytest.raises(UpdateError, match="agent 'north' round 3: it sent the very update of round 2: it is replayed"):
        notary.check(signed, ROUND)
    notary.saw("north", signed.receipt.digest, 3)
    notary.check(signed, ROUND)


def test_what_arrives_must_be_what_was_signed(keys, notary):
    with pytest.raises(UpdateError, match="agent 'north' round 3: what arrived is not what it signed"):
        notary.check_content(update(1.5), report(keys), ROUND)
