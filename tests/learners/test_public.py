"""The public set: what stands where, what an agent says of it, and the loss of learning from it."""

from dataclasses import dataclass

import pytest
import torch

from raycollab.data import Arrays, Shard
from raycollab.errors import DataError, ModelError
from raycollab.learners import SGD
from raycollab.learners.public import consensus_place, public_columns, say, soft_problem
from raycollab.models import CNN, CONSENSUS, WithConsensus
from raycollab.params import Exchange, FlatModel
from raycollab.spec import BUFFERS
from raycollab.task import Problem
from raycollab.tasks import ImageClassification
from raycollab.types import Round

EXAMPLES, CLASSES = 3, 3
IMAGES = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
PUBLIC = Arrays({"image": IMAGES}, "public")


@dataclass(frozen=True)
class Party:
    """An agent whose net has a consensus over the first three public images."""

    problem: Problem
    round: Round

    @property
    def params(self):
        return self.round.vectors["params"]


def party(*, count=EXAMPLES, include=("*",), exclude=(), version=1, batch_norm=False):
    torch.manual_seed(0)
    net = CNN(CLASSES, size=4, channels=(2,), hidden=5, batch_norm=batch_norm)
    task = ImageClassification(WithConsensus(net, count, CLASSES), CLASSES)
    model = FlatModel(task.model(), Exchange(include, exclude))
    shard = Shard({"image": torch.randn(6, 1, 4, 4), "label": torch.arange(6) % 3}, val_fraction=0.0, seed=0)
    buffers = torch.randn(model.spec.num_buffers)
    vectors = {"params": model.read(), BUFFERS: buffers}
    return Party(Problem("a", task, model, shard, lambda: False), Round(version + 1, 7, version, vectors))


def test_the_consensus_is_found_among_other_buffers():
    place = consensus_place(party(batch_norm=True).problem)
    assert (place.name, place.shape) == (CONSENSUS, (EXAMPLES, CLASSES))


def test_a_model_without_one_is_refused(bench):
    with pytest.raises(ModelError, match="agent 'a': its model has no exchanged buffer 'consensus'; wrap its net"):
        consensus_place(bench.problem)
    with pytest.raises(ModelError, match="and exchange 'consensus'"):
        consensus_place(party(exclude=(CONSENSUS,)).problem)


def test_the_first_examples_are_public():
    problem = party().problem
    assert torch.equal(public_columns(problem, PUBLIC, 3)["image"], IMAGES[:3])
    assert len(public_columns(problem, PUBLIC, 5)["image"]) == 5
    with pytest.raises(DataError, match=r"public .*: 5 public examples; WithConsensus.num_examples=6 needs more"):
        public_columns(problem, PUBLIC, 6)


def test_what_is_said_is_the_logits_in_evaluation_mode():
    """BatchNorm's statistics decide and stay; the known-bad answer is that of training mode."""
    problem = party(batch_norm=True).problem
    module, before = problem.model.module, problem.model.read_buffers()
    module.train()
    said = say(problem, {"image": IMAGES})
    assert module.training
    assert torch.equal(problem.model.read_buffers(), before)
    with torch.no_grad():
        assert torch.allclose(said, module.eval()(IMAGES))
        assert not torch.allclose(said, module.train()(IMAGES), rtol=1e-2)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_loss_by_hand(temperature):
    """T^2 * mean over examples of sum_c p_c (log p_c - log q_c), p from the consensus of the round, q from the net."""
    held = party()
    soft = soft_problem(held.problem, PUBLIC, held.round, temperature)
    (batch,) = soft.batches(held.round, batch_size=EXAMPLES, epochs=1)
    order = [int((batch["image"] - image).flatten(1).abs().sum(1).argmin()) for image in IMAGES[:EXAMPLES]]
    consensus = held.round.vectors[BUFFERS].view(EXAMPLES, CLASSES)
    assert torch.equal(batch[CONSENSUS][order], consensus)  # each image has its own row, however they are shuffled
    loss = soft.loss(batch)
    rows = []
    for image, said in zip(IMAGES, consensus, strict=False):
        logits = held.problem.model.module(image[None])[0]
        p, q = (torch.exp(z / temperature) / torch.exp(z / temperature).sum() for z in (said, logits))
        rows.append((p * (p / q).log()).sum())
    torch.testing.assert_close(loss, temperature**2 * torch.stack(rows).mean())
    assert SGD(batch_size=2).update(soft, held.params, {}, held.round)[0].weight == EXAMPLES
