"""Optimizers on the flat vector, or on views into it, are torch's on the parameters.

The tolerance is that of tests/learners/test_sgd.py.
"""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from raycollab.checkpoint import load_state, save_state
from raycollab.data import Shard
from raycollab.errors import ConfigError, ModelError, UpdateError
from raycollab.learners import SGD, Optimizer
from raycollab.models import Module
from raycollab.params import Exchange, FlatModel
from raycollab.schedules import Decay
from raycollab.storage import Storage
from raycollab.task import Problem
from raycollab.tasks import Classification
from raycollab.types import Round

CLOSE = {"rtol": 1e-4, "atol": 2e-6}
ADAMW = {"lr": 1e-2, "weight_decay": 0.1, "betas": (0.8, 0.9)}


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("AdamW", ADAMW),
        ("Adam", {"lr": 1e-2, "amsgrad": True}),
        ("RMSprop", {"lr": 1e-3, "momentum": 0.9}),
        ("Adagrad", {}),
        ("Adafactor", {"lr": 1e-2}),
        ("SGD", {"lr": 0.1}),
    ],
)
def test_equals_torch(bench, name, args):
    learner = Optimizer(name, args, epochs=2, batch_size=6)
    update, state = learner.update(bench.problem, bench.params, {}, bench.round)
    expected = bench.reference(lambda p: getattr(torch.optim, name)(p, **args), batch_size=6, epochs=2)
    torch.testing.assert_close(update.vectors["delta"], expected, **CLOSE)
    assert state == {}


def test_sgd_by_name_is_sgd(bench):
    """The same operations on the same vector: bit for bit."""
    named, own = Optimizer("SGD", {"lr": 0.1, "momentum": 0.9}), SGD(lr=0.1, momentum=0.9)
    deltas = [each.update(bench.problem, bench.params, {}, bench.round)[0].vectors["delta"] for each in (named, own)]
    torch.testing.assert_close(*deltas, **CLOSE)


def test_clipping_equals_torch(bench):
    learner = Optimizer("SGD", {"lr": 0.1}, batch_size=6, max_grad_norm=0.01)
    update, _ = learner.update(bench.problem, bench.params, {}, bench.round)
    expected = bench.reference(lambda p: torch.optim.SGD(p, lr=0.1), batch_size=6, epochs=1, max_grad_norm=0.01)
    torch.testing.assert_close(update.vectors["delta"], expected, **CLOSE)


def test_steps_or_epochs(bench):
    for settings, steps in (({"epochs": 2}, 8), ({"steps": 3}, 3)):
        update, _ = Optimizer("AdamW", ADAMW, batch_size=6, **settings).update(
            bench.problem, bench.params, {}, bench.round
        )
        assert update.scalars["steps"] == steps


def test_kept_state_is_one_long_run(bench):
    learner = Optimizer("AdamW", ADAMW, batch_size=6, keep_state=True)
    first, state = learner.update(bench.problem, bench.params, {}, bench.round)
    start = bench.params + first.vectors["delta"]
    second, state = learner.update(bench.problem, start, state, dataclasses.replace(bench.round, index=2))
    expected = bench.reference(lambda p: torch.optim.AdamW(p, **ADAMW), batch_size=6, epochs=1, rounds=2)
    torch.testing.assert_close(first.vectors["delta"] + second.vectors["delta"], expected, **CLOSE)
    assert state["state"][0]["step"] == 8


def test_a_round_that_is_redone_starts_from_the_same_state(bench):
    """torch's load_state_dict keeps the tensors that it is given, and steps in place."""
    learner = Optimizer("AdamW", ADAMW, keep_state=True)
    _, state = learner.update(bench.problem, bench.params, {}, bench.round)
    before = {name: value.clone() for name, value in state["state"][0].items()}
    (first, after), (again, after_again) = (
        learner.update(bench.problem, bench.params, state, bench.round) for _ in range(2)
    )
    assert torch.equal(first.vectors["delta"], again.vectors["delta"])
    assert all(torch.equal(state["state"][0][name], value) for name, value in before.items())
    assert all(torch.equal(after["state"][0][name], after_again["state"][0][name]) for name in before)


@pytest.mark.parametrize("name", ["AdamW", "NAdam", "Adagrad", "ASGD", "Rprop", "Adafactor"])
def test_kept_state_survives_a_checkpoint(bench, tmp_path, name):
    learner = Optimizer(name, keep_state=True)
    _, state = learner.update(bench.problem, bench.params, {}, bench.round)
    save_state(Storage(str(tmp_path)), "a", state)
    restored = load_state(Storage(str(tmp_path)), "a")
    one, other = (learner.update(bench.problem, bench.params, each, bench.round)[0] for each in (state, restored))
    assert torch.equal(one.vectors["delta"], other.vectors["delta"])


def matrices(seed=0):
    """A problem whose model has no bias, and that model."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))
    columns = {"features": torch.randn(20, 6), "label": torch.arange(20) % 3}
    task = Classification(Module(nn.Identity), 3)
    model = FlatModel(copy.deepcopy(module), Exchange())
    return Problem("a", task, model, Shard(columns, val_fraction=0.0, seed=0), lambda: False), module


def test_muon_equals_torch():
    """Over two rounds with kept state; its inner products are in bfloat16 on both sides, of the same matrices."""
    problem, module = matrices()
    learner = Optimizer("Muon", {"lr": 0.02}, batch_size=5, keep_state=True)
    w, state = problem.model.read(), {}
    optimizer = torch.optim.Muon(module.parameters(), lr=0.02)
    for index in (1, 2):
        round = Round(index, 7, index - 1, {"params": w})
        update, state = learner.update(problem, w, state, round)
        w = w + update.vectors["delta"]
        for batch in problem.batches(round, batch_size=5, epochs=1):
            optimizer.zero_grad()
            problem.task.loss(module, batch).backward()
            optimizer.step()
    torch.testing.assert_close(w, torch.cat([p.detach().reshape(-1) for p in module.parameters()]), **CLOSE)
    assert [memory["momentum_buffer"].shape for memory in state["state"]] == [(4, 6), (3, 4)]


def test_muon_refuses_what_is_no_matrix(bench):
    message = (
        r"Optimizer\(name='Muon'\): parameter '0.weight' has shape \[2, 1, 3, 3\], and Muon takes only matrices: freeze"
    )
    with pytest.raises(ModelError, match=message):
        Optimizer("Muon").update(bench.problem, bench.params, {}, bench.round)


def test_optimizers_by_shape_train_private_parameters_too(private_head):
    before = private_head.model.private()
    learner = Optimizer("Adafactor", {"lr": 1e-2})
    update, _ = learner.update(private_head.problem, private_head.params, {}, private_head.round)
    assert update.vectors["delta"].numel() == private_head.params.numel()
    assert all(not torch.equal(before[name], after) for name, after in private_head.model.private().items())


def test_a_schedule_is_that_of_sgd(bench):
    schedule = Decay(0.5, over="steps")
    both = Optimizer("SGD", {"lr": 0.1}, schedule=schedule), SGD(lr=0.1, schedule=schedule)
    deltas = [each.update(bench.problem, bench.params, {}, bench.round)[0].vectors["delta"] for each in both]
    torch.testing.assert_close(*deltas, **CLOSE)


def test_a_rule_without_memory_keeps_nothing(bench):
    _, state = Optimizer("SGD", {"lr": 0.1}, keep_state=True).update(bench.problem, bench.params, {}, bench.round)
    assert state == {}


def test_a_loss_that_is_not_finite(bench):
    with pytest.raises(UpdateError, match="the loss is nan"):
        Optimizer("AdamW").update(bench.poison(), bench.params, {}, bench.round)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "Adamw"}, "Optimizer.name='Adamw': must be one of ASGD, Adadelta, Adafactor, Adagrad, Adam, AdamW"),
        ({"name": "LBFGS"}, "Optimizer.name='LBFGS': evaluates the loss several times in a step"),
        ({"name": "SparseAdam"}, "Optimizer.name='SparseAdam': wants sparse gradients"),
        ({"name": "Muon", "args": {"lr": -1.0}}, r"Optimizer\(name='Muon', args={'lr': -1.0}\): Learning rate"),
        ({"name": "Optimizer"}, "Optimizer.name='Optimizer': must be one of"),
        ({"name": "lr_scheduler"}, "Optimizer.name='lr_scheduler': must be one of"),
        (
            {"args": {"speed": 1}},
            r"Optimizer\(name='AdamW', args={'speed': 1}\): .*unexpected keyword argument 'speed'",
        ),
        ({"args": {"lr": -1.0}}, r"Optimizer\(name='AdamW', args={'lr': -1.0}\): Invalid learning rate"),
        ({"args": {"lr": "1e-3"}}, r"Optimizer\(name='AdamW', args={'lr': '1e-3'}\)"),
        ({"epochs": 0}, "Optimizer.epochs=0"),
        ({"batch_size": 0}, "Optimizer.batch_size=0"),
        ({"steps": 0}, "Optimizer.steps=0: must be >= 1, or null"),
        ({"max_grad_norm": -1.0}, "Optimizer.max_grad_norm=-1.0: must be > 0"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Optimizer(**{"name": "AdamW", **settings})
