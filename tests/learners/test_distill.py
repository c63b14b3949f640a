"""One agent's part in FedMD; whole runs stand in tests/contracts/test_distillation.py."""

from dataclasses import replace

import pytest
import torch

from raycollab.errors import ConfigError, ModelError
from raycollab.learners import SGD, Distill, Scaffold, StartLoss
from raycollab.learners.public import say, soft_problem
from raycollab.models import CONSENSUS
from raycollab.spec import BUFFERS

from .test_public import CLASSES, EXAMPLES, IMAGES, PUBLIC, party

OWN, DIGEST = SGD(lr=0.1, batch_size=3), SGD(lr=0.2, steps=2, batch_size=2)
RULE = Distill(OWN, DIGEST, PUBLIC, temperature=2.0)


def digested(version):
    """An agent that exchanges the consensus alone, and its update."""
    held = party(include=(CONSENSUS,), version=version)
    update, state = RULE.update(held.problem, held.params, RULE.init(held.params), held.round)
    return held, update, state


def test_it_sends_the_difference_to_the_consensus_and_nothing_else():
    held, update, state = digested(version=1)
    assert {name: vector.shape for name, vector in update.vectors.items()} == {
        "delta": (0,),
        BUFFERS: (EXAMPLES * CLASSES,),
    }
    said = say(held.problem, {"image": IMAGES[:EXAMPLES]})
    torch.testing.assert_close(update.vectors[BUFFERS] + held.round.vectors[BUFFERS], said.flatten())
    assert set(state) == {"learner", "digest"}


@pytest.mark.parametrize("version", [0, 1])
def test_it_digests_from_the_second_round_then_learns(version):
    """The two learners one after the other, on a model of the same start."""
    ended, _, _ = digested(version)
    held = party(include=(CONSENSUS,), version=version)
    before = held.problem.model.private()
    if version:
        apart = replace(held.round, seed=held.round.seed_for("digest"))
        DIGEST.update(soft_problem(held.problem, PUBLIC, held.round, 2.0), held.params, {}, apart)
    OWN.update(held.problem, held.params, {}, held.round)
    after = ended.problem.model.private()
    assert all(torch.equal(value, after[name]) for name, value in held.problem.model.private().items())
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def test_a_model_of_which_more_travels_is_refused():
    held = party()
    with pytest.raises(ModelError, match=r"agent 'a': Distill sends nothing but the consensus; exchanged are \["):
        RULE.update(held.problem, held.params, RULE.init(held.params), held.round)


def test_it_asks_for_and_sends_what_its_learner_does():
    assert Distill(Scaffold(SGD()), DIGEST, PUBLIC).needs == ("control",)
    assert Distill(StartLoss(SGD()), DIGEST, PUBLIC).sends == StartLoss(SGD()).sends
    assert (RULE.needs, RULE.sends) == ((), OWN.sends)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, r"Distill\.temperature=0\.0: must be > 0"),
        ({"temperature": float("inf")}, r"Distill\.temperature=inf: must be > 0 and finite"),
        (
            {"digest": Scaffold(SGD())},
            r"Distill\.digest=Scaffold.*: must be a Learner, such as SGD, that needs nothing of the round",
        ),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(RULE, **settings)
