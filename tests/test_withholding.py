"""What an agent withholds never leaves it, and others are not slowed down by it."""

from dataclasses import dataclass, replace

import pytest
import torch

import raycollab as rc
from raycollab.errors import ModelError
from raycollab.spec import Entry, ParamSpec
from raycollab.withholding import some_part, without_withheld

from .contracts.support import DIGITS, digits, train

OWN = ParamSpec(
    (Entry("a", (2,), "float32", 0), Entry("b", (3,), "float32", 2), Entry("c", (1,), "float32", 5)),
    (Entry("mean", (2,), "float32", 0),),
)


def test_elements_are_cut_out_of_every_vector():
    vectors = {"delta": torch.arange(6.0), "control": 10 + torch.arange(6.0), "buffers": torch.ones(2)}
    update = rc.Update("x", 1.0, vectors, withheld=("b", "mean"))
    cut = without_withheld(update, OWN, OWN)
    assert {name: vector.tolist() for name, vector in cut.vectors.items()} == {
        "delta": [0, 1, 5],
        "control": [10, 11, 15],
        "buffers": [],
    }
    assert cut.coverage.params.ranges == ((0, 2), (5, 6))
    assert cut.coverage.buffers.count == 0
    assert cut.withheld == ()


def test_an_agent_that_holds_a_part_sends_less_of_it():
    whole = ParamSpec((Entry("z", (4,), "float32", 0), *(replace(e, offset=e.offset + 4) for e in OWN.params)), ())
    own = ParamSpec(OWN.params, ())
    cut = without_withheld(rc.Update("x", 1.0, {"delta": torch.arange(6.0)}, withheld=("a",)), own, whole)
    assert cut.vectors["delta"].tolist() == [2, 3, 4, 5]
    assert cut.coverage.params.ranges == ((6, 10),)


def test_what_is_not_exchanged_cannot_be_withheld():
    with pytest.raises(ModelError, match="nothing exchanged is called 'd'; there are: a, b, c, mean"):
        without_withheld(rc.Update("x", 1.0, {}, withheld=("d",)), OWN, OWN)


def test_a_part_is_less_than_all():
    assert not some_part(OWN).full
    assert some_part(ParamSpec((), ())).full


@dataclass(frozen=True)
class KeepsHead(rc.SGD):
    """Withholds the last layer."""

    withholds = True

    def update(self, problem, params, state, round):
        update, state = super().update(problem, params, state, round)
        return replace(update, withheld=("3.weight", "3.bias")), state


PLAIN = rc.SGD(lr=0.1, steps=2)
KEEPS = KeepsHead(lr=0.1, steps=2)


@pytest.mark.parametrize("rule", [rc.Mean(), rc.FedNova(), rc.Mean(exact=True)], ids=repr)
def test_others_go_on_as_if_nobody_withheld(rule):
    """The head that four agents of eight send is merged as if only they took part, the body of all."""
    every = train(digits(PLAIN, rule, rounds=1))
    some = train(digits([PLAIN] * 4 + [KEEPS] * 4, rule, rounds=1))
    head = sum(entry.size for entry in some.driver.offer.spec.params if entry.name.startswith("3."))
    torch.testing.assert_close(some.params[:-head], every.params[:-head])
    few = digits(PLAIN, rule, rounds=1)
    alone = train(replace(few, agents=rc.Parties(tuple(few.members()[:4]))))
    torch.testing.assert_close(some.params[-head:], alone.params[-head:])


def test_what_all_withhold_stays_as_it_is():
    first = train(digits(KEEPS, rounds=1))
    second = train(digits(KEEPS, rounds=2))
    head = sum(entry.size for entry in first.driver.offer.spec.params if entry.name.startswith("3."))
    assert torch.equal(first.params[-head:], second.params[-head:])
    assert not torch.equal(first.params[:-head], second.params[:-head])


def test_a_rule_over_whole_vectors_refuses_such_agents_before_the_run_starts():
    with pytest.raises(rc.errors.RaycollabError, match=r"exchanges only a part of the model, and Median merges whole"):
        train(digits(KEEPS, rc.Median(), task=DIGITS))
