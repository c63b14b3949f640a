"""Sums of residues."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.aggregation import add_up
from raycollab.errors import UpdateError
from raycollab.runtime.wire import pack, unpack
from raycollab.secure import MaskedSum, SecureSum
from raycollab.spec import Coverage, Entry, ParamSpec, Segments

from .support import updates

RULE = SecureSum(rc.Mean(), max_weight=16.0)
ROUND = rc.Round(1, 0, 0, {}, agents=tuple(f"a{i}" for i in range(10)))


def partials(some=None):
    return [RULE.collect(update, ROUND) for update in some or updates()]


def body(partial):
    return partial.whole()[1].body


def test_any_grouping_has_the_same_bits_and_changes_nothing_given():
    given = partials()
    before = [body(each).clone() for each in given]
    one = add_up(given)
    other = add_up([given[9] + given[0], add_up(given[5:9]), add_up(given[1:5])])
    assert torch.equal(body(one), body(other))
    assert one.whole()[1].head == other.whole()[1].head
    assert (one.count, other.count) == (10, 10)
    assert all(torch.equal(body(each), was) for each, was in zip(given, before, strict=True))


def test_it_crosses_the_wire_and_adds_up_there():
    """Arrays that arrive are read-only, and nothing is written into them."""
    sent = [pack(each) for each in partials()]
    for each in sent:
        for residues in each.parts.values():
            residues.body.flags.writeable = False
    assert torch.equal(body(add_up([unpack(each) for each in sent])), body(add_up(partials())))


def test_updates_that_differ_in_what_they_hold_are_named():
    odd = updates()[0]
    odd = rc.Update(odd.agent, 1.0, {"delta": odd.vectors["delta"]}, odd.scalars)
    total = add_up([*partials(), RULE.collect(odd, ROUND)])
    with pytest.raises(UpdateError, match=r"11 updates of 2 forms cannot be summed under masks.*the same vectors"):
        total.whole()


def test_only_a_rule_makes_one():
    with pytest.raises(UpdateError, match=r"only SecureSum\.collect"):
        MaskedSum.of(updates()[0])


def test_parts_of_the_vectors_are_refused():
    part = Coverage(Segments(10000, ((0, 5000),)), Segments.all(7))
    odd = rc.Update("a0", 1.0, updates()[0].vectors, coverage=part)
    with pytest.raises(UpdateError, match="only a part of the vectors"):
        RULE.collect(odd, ROUND)


SPEC = ParamSpec((Entry("w", (5000,), "float32", 0),), (Entry("b", (7,), "float32", 0),))


def changed(**changes):
    """A masked sum with something else in it than it says."""
    total = partials()[0]
    form, residues = total.whole()
    return MaskedSum(1, {replace(form, **changes.pop("form", {})): replace(residues, **changes)})


def test_what_arrives_as_it_was_made_is_taken():
    changed().check((1, 0, 0), SPEC)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"form": {"made_in": (0, 0, 0)}},
            r"is stale: it was made in \(round, attempt, version\) \(0, 0, 0\), and \(1, 0, 0\)",
        ),
        ({"body": torch.zeros(5006, dtype=torch.int32)}, "is not what it says"),
        ({"body": torch.zeros(5007)}, "is not what it says"),
        ({"body": None}, "is not what it says"),
        ({"head": (1, 2, 3)}, "is not what it says"),
        ({"head": (0.5,) * 9}, "is not what it says"),
        ({"form": {"vectors": (("delta", 5007),)}}, "is not what it says"),
        ({"form": {"vectors": (("delta", 5000), ("delta", 7))}}, "is not what it says"),
        ({"form": {"bits": 64}}, "is not what it says"),
    ],
)
def test_what_a_host_makes_up_is_refused_before_it_is_added(wrong, message):
    with pytest.raises(UpdateError, match=message):
        changed(**wrong).check((1, 0, 0), SPEC)
