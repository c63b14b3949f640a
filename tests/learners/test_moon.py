"""MOON against three ordinary modules; the tolerance is that of tests/learners/test_sgd.py."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from raycollab.data import Shard
from raycollab.errors import ConfigError, ModelError
from raycollab.learners import SGD, Moon
from raycollab.models import CNN, Module
from raycollab.params import Exchange, FlatModel
from raycollab.spec import BUFFERS
from raycollab.task import Problem
from raycollab.tasks import Classification, ImageClassification
from raycollab.types import Round

from ..contracts.support import Quadratic
from .conftest import TASK, Bench, build

LEARNER = SGD(lr=0.1, momentum=0.9, batch_size=6)
RULE = Moon(LEARNER, mu=2.0, temperature=0.5)


def second_round(bench, rule=RULE):
    """The states and rounds before an agent's second round; the round's parameters are others than it ended with."""
    first, state = rule.update(bench.problem, bench.params, rule.init(bench.params), bench.round)
    params = bench.params + 0.5 * first.vectors["delta"]
    return params, state, dataclasses.replace(bench.round, index=2, vectors={**bench.round.vectors, "params": params})


def test_the_first_round_is_the_learner_itself(bench):
    plain, _ = LEARNER.update(bench.problem, bench.params, {}, bench.round)
    update, state = RULE.update(bench.problem, bench.params, RULE.init(bench.params), bench.round)
    assert torch.equal(update.vectors["delta"], plain.vectors["delta"])
    assert torch.equal(state["last"]["params"], bench.params + plain.vectors["delta"])


def loaded(vector):
    module = build()
    nn.utils.vector_to_parameters(vector.clone(), module.parameters())  # it makes views
    return module


@pytest.mark.parametrize("micro_batch_size", [None, 4])
def test_equals_torch(bench, micro_batch_size):
    """Equation 3 as it is written, with what goes into the last layer as the representation."""
    rule = dataclasses.replace(RULE, learner=dataclasses.replace(LEARNER, micro_batch_size=micro_batch_size))
    params, state, round = second_round(bench, rule)
    update, _ = rule.update(bench.problem, params, state, round)
    module, here, last = (loaded(vector) for vector in (params, params, state["last"]["params"]))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for batch in bench.problem.batches(round, batch_size=6, epochs=1):
        z, z_here, z_last = (each[:-1](batch["image"]) for each in (module, here, last))
        near, far = (torch.exp(torch.cosine_similarity(z, other.detach()) / 0.5) for other in (z_here, z_last))
        loss = TASK.loss(module, batch) + 2.0 * -torch.log(near / (near + far)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() * len(batch["label"]))
    expected = torch.cat([p.detach().reshape(-1) for p in module.parameters()]) - params
    torch.testing.assert_close(update.vectors["delta"], expected, rtol=1e-4, atol=2e-6)
    assert update.scalars["loss"] == pytest.approx(sum(losses) / 20, rel=1e-5)
    plain, _ = LEARNER.update(bench.problem, params, {}, round)
    assert not torch.allclose(plain.vectors["delta"], expected, rtol=1e-2)  # the known-bad input: no term


def test_private_parameters_are_those_of_now_in_all_three():
    """The first layer is private: the ordinary modules share it, so that it moves in the fixed ones too."""
    bench = Bench(Exchange(exclude=("0.*",)))
    params, state, round = second_round(bench)
    kept = bench.model.private()
    update, _ = RULE.update(bench.problem, params, state, round)

    def ordinary(vector):
        module = build()
        module[0].load_state_dict({name.removeprefix("0."): value for name, value in kept.items()})
        nn.utils.vector_to_parameters(vector.clone(), list(module.parameters())[2:])
        return module

    module, here, last = (ordinary(vector) for vector in (params, params, state["last"]["params"]))
    here[0] = last[0] = module[0]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for batch in bench.problem.batches(round, batch_size=6, epochs=1):
        with torch.no_grad():
            z_here, z_last = here[:-1](batch["image"]), last[:-1](batch["image"])
        z = module[:-1](batch["image"])
        push, pull = torch.cosine_similarity(z, z_last), torch.cosine_similarity(z, z_here)
        optimizer.zero_grad()
        (TASK.loss(module, batch) + 2.0 * nn.functional.softplus((push - pull) / 0.5).mean()).backward()
        optimizer.step()
    expected = torch.cat([p.detach().reshape(-1) for p in list(module.parameters())[2:]]) - params
    torch.testing.assert_close(update.vectors["delta"], expected, rtol=1e-4, atol=2e-6)
    moved = bench.model.private()
    torch.testing.assert_close(moved["0.weight"], module[0].weight.detach(), rtol=1e-4, atol=2e-6)
    assert not torch.equal(moved["0.weight"], kept["0.weight"])


def test_without_weight_it_is_the_learner_itself(bench):
    rule = dataclasses.replace(RULE, mu=0.0)
    params, state, round = second_round(bench, rule)
    update, _ = rule.update(bench.problem, params, state, round)
    plain, _ = LEARNER.update(bench.problem, params, {}, round)
    torch.testing.assert_close(update.vectors["delta"], plain.vectors["delta"], rtol=1e-4, atol=1e-6)


def test_the_fixed_models_leave_batch_norm_as_it_is():
    """Four batches move its statistics four times, whatever else looks at the batches; the module stays in training."""
    task = ImageClassification(CNN(3, size=4, channels=(2,), hidden=5, batch_norm=True), 3)
    columns = {"image": torch.randn(20, 1, 4, 4), "label": torch.arange(20) % 3}
    model = FlatModel(task.model(), Exchange())
    problem = Problem("a", task, model, Shard(columns, val_fraction=0.0, seed=0), lambda: False)
    params, buffers = model.read(), model.read_buffers()
    round = Round(1, 7, 0, {"params": params, BUFFERS: buffers})
    still = Moon(SGD(lr=1e-12, batch_size=5))
    first, state = still.update(problem, params, still.init(params), round)
    torch.testing.assert_close(state["last"]["buffers"], buffers + first.vectors[BUFFERS])
    second, _ = still.update(problem, params, state, round)
    torch.testing.assert_close(first.vectors[BUFFERS], second.vectors[BUFFERS])
    assert model.module.training


def test_under_autocast_the_gradient_reaches_all_layers(bench):
    """What autocast casts without gradients for the fixed models must not be taken for the model that learns."""
    rule = dataclasses.replace(RULE, learner=dataclasses.replace(LEARNER, autocast=True))
    params, state, round = second_round(bench, rule)
    (cast, _), (exact, _) = (each.update(bench.problem, params, state, round) for each in (rule, RULE))
    for entry in bench.model.spec.params:
        one, other = (each.vectors["delta"][entry.offset : entry.stop] for each in (cast, exact))
        assert (one - other).norm() < 0.1 * other.norm(), entry.name


def test_a_task_without_features_is_refused_in_the_first_round():
    task = Quadratic(2)
    shard = Shard({"x": torch.zeros(4, 2), "a": torch.ones(4, 2)}, val_fraction=0.0, seed=0)
    problem = Problem("a", task, FlatModel(task.model(), Exchange()), shard, lambda: False)
    params = torch.zeros(2)
    message = "Quadratic gives no features, which the learner compares: override Quadratic.features"
    with pytest.raises(ModelError, match=message):
        RULE.update(problem, params, RULE.init(params), Round(1, 0, 0, {"params": params}))


def test_a_model_without_a_linear_layer_is_refused():
    task = Classification(Module(nn.Identity), 2)
    columns = {"features": torch.zeros(4, 2), "label": torch.arange(4) % 2}
    model = FlatModel(copy.deepcopy(nn.PReLU()), Exchange())
    problem = Problem("a", task, model, Shard(columns, val_fraction=0.0, seed=0), lambda: False)
    params = model.read()
    with pytest.raises(ModelError, match=r"PReLU has no nn\.Linear, so nothing says what its features are"):
        RULE.update(problem, params, RULE.init(params), Round(1, 0, 0, {"params": params}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mu": -1.0}, r"Moon\.mu=-1\.0: must be >= 0 and finite; 0 is the learner itself"),
        ({"mu": float("inf")}, r"Moon\.mu=inf: must be >= 0 and finite"),
        ({"temperature": 0.0}, r"Moon\.temperature=0\.0: must be > 0 and finite"),
        ({"temperature": float("inf")}, r"Moon\.temperature=inf: must be > 0 and finite"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Moon(LEARNER, **settings)
