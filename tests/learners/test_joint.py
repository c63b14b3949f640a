"""Agents that learn in the same steps learn what each of them would have learned by itself."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from raycollab.data import Shard
from raycollab.errors import ModelError, UpdateError
from raycollab.fused import Stacked, layers_of
from raycollab.learners import SGD, JointLearner, Optimizer
from raycollab.models import CNN
from raycollab.params import Exchange, FlatModel
from raycollab.schedules import Cosine
from raycollab.task import Problem, Task
from raycollab.tasks import ImageClassification
from raycollab.types import Round

TASK = ImageClassification(CNN(3, size=8, channels=(2,), hidden=5), 3)


def problems(model, count=3, task=TASK, rows=10):
    generator = torch.Generator().manual_seed(1)
    made = []
    for index in range(count):
        images, labels = (
            torch.randn(rows, 1, 8, 8, generator=generator),
            torch.randint(0, 3, (rows,), generator=generator),
        )
        shard = Shard({"image": images, "label": labels}, val_fraction=0.0, seed=0)
        made.append(Problem(f"agent-{index}", task, model, shard, lambda: False))
    return made


def together(learner, model, group, states, index=1):
    params = START
    stacked = Stacked(layers_of(model), model.spec, len(group))
    return learner.update_together(group, stacked, params, states, Round(index, 7, index - 1, {"params": params}))


torch.manual_seed(0)
START = FlatModel(TASK.model(), Exchange()).read()


@pytest.mark.parametrize(
    "learner",
    [
        SGD(lr=0.1, batch_size=4),
        SGD(lr=0.1, batch_size=4, epochs=2, drop_last=True),
        SGD(lr=0.1, batch_size=4, steps=4, momentum=0.9, weight_decay=0.01),
        SGD(lr=0.1, batch_size=4, steps=4, momentum=0.9, keep_momentum=True, schedule=Cosine(10, over="steps")),
    ],
    ids=repr,
)
def test_two_rounds_together_are_two_rounds_alone(learner):
    """1e-5 is the rounding of sums in another order."""
    model = FlatModel(TASK.model(), Exchange())
    group = problems(model)
    states = [learner.init(START) for _ in group]
    alone = list(states)
    for index in (1, 2):
        joint = together(learner, model, group, states, index)
        for place, problem in enumerate(group):
            round = Round(index, 7, index - 1, {"params": START})
            update, alone[place] = learner.update(problem, START, alone[place], round)
            other, states[place] = joint[place]
            torch.testing.assert_close(other.vectors["delta"], update.vectors["delta"], rtol=1e-5, atol=1e-5)
            assert {k: v for k, v in other.scalars.items() if k != "loss"} == {
                k: v for k, v in update.scalars.items() if k != "loss"
            }
            assert other.scalars["loss"] == pytest.approx(update.scalars["loss"], rel=1e-5)
            assert (other.agent, other.weight, other.base_version) == (update.agent, update.weight, update.base_version)
        assert [sorted(state) for state in states] == [sorted(state) for state in alone]


def test_who_diverges_does_not_take_the_others_along():
    model = FlatModel(TASK.model(), Exchange())
    group = problems(model)
    bad = {**group[1].shard.columns(), "image": torch.full((10, 1, 8, 8), math.nan)}
    group[1] = replace(group[1], shard=Shard(bad, val_fraction=0.0, seed=0))
    first, second, third = together(SGD(lr=0.1, batch_size=4), model, group, [{}, {}, {}])
    assert isinstance(second, UpdateError)
    assert "agent 'agent-1': the loss is nan in round 1" in str(second)
    assert all(torch.isfinite(update.vectors["delta"]).all() for update, _ in (first, third))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_gradient_of_cross_entropy_is_autograds(smoothing):
    task = replace(TASK, label_smoothing=smoothing)
    outputs, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    losses, gradients = task.losses_and_gradients({"label": labels}, outputs)
    leaf = outputs.clone().requires_grad_()
    reference = functional.cross_entropy(leaf, labels, reduction="none", label_smoothing=smoothing)
    reference.sum().backward()
    torch.testing.assert_close(losses, reference.detach())
    torch.testing.assert_close(gradients, leaf.grad)
    torch.testing.assert_close(task.losses(outputs, {"label": labels}), losses)


@pytest.mark.parametrize(
    "learner",
    [
        SGD(lr=0.1, momentum=0.9, nesterov=True),
        SGD(lr=0.1, max_grad_norm=1.0),
        SGD(lr=0.1, micro_batch_size=2),
        SGD(lr=0.1, autocast=True),
        Optimizer("Adam", {"lr": 0.1}),
    ],
    ids=repr,
)
def test_learners_that_need_more_than_a_layers_gradient_learn_alone(learner):
    assert not (isinstance(learner, JointLearner) and learner.joint)


class Halved(ImageClassification):
    def loss(self, model, batch):
        return 0.5 * super().loss(model, batch)


class Own(ImageClassification):
    def loss(self, model, batch):
        return self.losses(model(batch["image"]), batch).mean()

    def losses(self, outputs, batch):
        return (outputs - 1).square().mean(1)


def test_a_loss_of_ones_own_is_never_swapped_for_that_of_the_base_class():
    """Halved has no `losses` of its own; Own has, but Classification's formula for the gradient is not its."""
    assert TASK.tells_losses
    assert not Halved(TASK.net, 3).tells_losses
    assert not Own(TASK.net, 3).tells_losses


def test_a_task_that_does_not_say_its_losses_says_so():
    with pytest.raises(ModelError, match="ImageClassification does not say what an example's loss is: override losses"):
        Task.losses(TASK, START, {})
    with pytest.raises(ModelError, match="what its model is called with: override inputs_of"):
        Task.inputs_of(TASK, {})
