"""SGD on the flat vector is torch.optim.SGD on the parameters.

Tolerance: the same float32 operations, but over one long vector, where vectorised loops may fuse a multiply with an add
elsewhere than over short ones; the difference of two parameters near 1 has steps of 1e-7.
"""

import dataclasses
import pickle

import pytest
import torch
from torch import nn

from raycollab.errors import ConfigError, UpdateError
from raycollab.learners import SGD
from raycollab.params import Exchange, FlatModel
from raycollab.schedules import Decay

CLOSE = {"rtol": 1e-4, "atol": 1e-6}
RULES = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.1},
    {"momentum": 0.5, "weight_decay": 0.1, "nesterov": True},
]


@pytest.mark.parametrize("rule", RULES)
def test_equals_torch(bench, rule):
    update, state = SGD(lr=0.1, epochs=2, batch_size=6, **rule).update(bench.problem, bench.params, {}, bench.round)
    expected = bench.reference(lambda p: torch.optim.SGD(p, lr=0.1, **rule), batch_size=6, epochs=2)
    torch.testing.assert_close(update.vectors["delta"], expected, **CLOSE)
    assert state == {}


@pytest.mark.parametrize("max_grad_norm", [0.01, 1e6])
def test_clipping_equals_torch(bench, max_grad_norm):
    learner = SGD(lr=0.1, batch_size=6, max_grad_norm=max_grad_norm)
    update, _ = learner.update(bench.problem, bench.params, {}, bench.round)
    expected = bench.reference(
        lambda p: torch.optim.SGD(p, lr=0.1), batch_size=6, epochs=1, max_grad_norm=max_grad_norm
    )
    torch.testing.assert_close(update.vectors["delta"], expected, **CLOSE)


def test_one_clipped_step_has_the_length_it_was_clipped_to(bench):
    update, _ = SGD(lr=1.0, steps=1, max_grad_norm=0.01).update(bench.problem, bench.params, {}, bench.round)
    assert update.vectors["delta"].norm() == pytest.approx(0.01, rel=1e-3)


def test_what_it_reports(bench):
    update, _ = SGD(epochs=2, batch_size=6).update(bench.problem, bench.params, {}, bench.round)
    assert (update.agent, update.weight, update.base_version) == ("a", 20.0, 0)
    assert update.scalars["steps"] == 8
    assert update.scalars["counted"] == 40
    assert set(update.vectors) == {"delta"}  # the net has no buffers


def test_the_loss_is_the_mean_over_the_examples_seen(bench):
    """With a negligible step every batch is scored at the start, so the mean is the loss over the whole shard."""
    update, _ = SGD(lr=1e-12, batch_size=6).update(bench.problem, bench.params, {}, bench.round)
    whole = bench.problem.task.loss(bench.model.module, bench.shard.columns()).item()
    assert update.scalars["loss"] == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "steps"), [({"epochs": 1}, 4), ({"epochs": 3}, 12), ({"steps": 3}, 3), ({"steps": 9, "epochs": 5}, 9)]
)
def test_steps_or_epochs(bench, settings, steps):
    update, _ = SGD(batch_size=6, **settings).update(bench.problem, bench.params, {}, bench.round)
    assert update.scalars["steps"] == steps


def test_the_arguments_stay_as_they_are(bench):
    params = bench.params.clone()
    SGD(lr=0.5, momentum=0.9).update(bench.problem, bench.params, {}, bench.round)
    assert torch.equal(bench.params, params)


def test_the_same_round_gives_the_same_bits(bench):
    learner = SGD(lr=0.1, momentum=0.9, keep_momentum=True)
    _, state = learner.update(bench.problem, bench.params, {}, bench.round)
    before = [velocity.clone() for velocity in state["velocity"]]
    first, again = (learner.update(bench.problem, bench.params, state, bench.round)[0] for _ in range(2))
    assert torch.equal(first.vectors["delta"], again.vectors["delta"])
    assert all(map(torch.equal, state["velocity"], before))


def test_kept_momentum_is_one_long_run(bench):
    learner = SGD(lr=0.05, momentum=0.9, batch_size=6, keep_momentum=True)
    first, state = learner.update(bench.problem, bench.params, {}, bench.round)
    start = bench.params + first.vectors["delta"]
    second, _ = learner.update(bench.problem, start, state, dataclasses.replace(bench.round, index=2))
    expected = bench.reference(lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), batch_size=6, epochs=1, rounds=2)
    torch.testing.assert_close(first.vectors["delta"] + second.vectors["delta"], expected, **CLOSE)


def test_private_parameters_learn_too_and_stay(private_head):
    before = private_head.model.private()
    update, _ = SGD(lr=0.1).update(private_head.problem, private_head.params, {}, private_head.round)
    assert update.vectors["delta"].numel() == private_head.params.numel() == private_head.model.flats[0].numel() - 18
    assert all(not torch.equal(before[name], after) for name, after in private_head.model.private().items())


def test_a_loss_that_is_not_finite(bench):
    with pytest.raises(UpdateError, match=r"agent 'a': the loss is nan in round 1; lower lr or clip gradients"):
        SGD().update(bench.poison(), bench.params, {}, bench.round)
    with pytest.raises(UpdateError, match="the loss is"):
        SGD(lr=1e30, epochs=5).update(bench.problem, bench.params, {}, bench.round)


@pytest.mark.parametrize("rule", [{}, {"momentum": 0.9}, {"momentum": 0.5}, {"momentum": 0.9, "nesterov": True}])
@pytest.mark.parametrize("factors", [[1.0], [1.0, 1.0], [1.0] * 7, [1.0, 0.5, 0.25, 0.0], [0.0]])
def test_effective_steps_are_the_sum_of_a(rule, factors):
    """a_j says how far the gradient of step j moves the parameter by the end: feed a 1 at step j, zeros elsewhere."""
    learner = SGD(lr=1.0, **rule)
    moved, steps = [], len(factors)
    for j in range(steps):
        model = FlatModel(nn.Linear(1, 1, bias=False), Exchange())
        stepper = learner.begin(model, {})
        start = model.read()
        for step in range(steps):
            model.grads[0].fill_(float(step == j))
            stepper.step(model, factors[step])
        moved.append((start - model.read()).item())
    assert learner.effective_steps(factors) == pytest.approx(sum(moved), rel=1e-5)
    if rule == {"momentum": 0.9} and set(factors) == {
        1.0
    }:  # the paper: a = [1 - rho^tau, 1 - rho^(tau - 1), ..., 1 - rho] / (1 - rho)
        assert moved == pytest.approx([(1 - 0.9 ** (steps - j)) / 0.1 for j in range(steps)], rel=1e-5)


def test_effective_steps_go_by_the_schedule_within_the_round(bench):
    """Factors 1, 0.5 and 0.25 of plain SGD; the known-bad count is the number of steps."""
    learner = SGD(steps=3, schedule=Decay(0.5, over="steps"))
    update, _ = learner.update(bench.problem, bench.params, {}, bench.round)
    assert (update.scalars["effective_steps"], update.scalars["steps"]) == (1.75, 3)


def test_a_value():
    assert pickle.loads(pickle.dumps(SGD(lr=0.2))) == SGD(lr=0.2) != SGD(lr=0.3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0}, "SGD.lr=0: must be > 0"),
        ({"lr": float("nan")}, "SGD.lr=nan"),
        ({"momentum": 1.0}, r"SGD.momentum=1.0: must be in \[0, 1\)"),
        ({"weight_decay": -1}, "SGD.weight_decay=-1"),
        ({"nesterov": True}, "SGD.nesterov=True: needs momentum > 0"),
        ({"keep_momentum": True}, "SGD.keep_momentum=True: needs momentum > 0"),
        ({"epochs": 0}, "SGD.epochs=0"),
        ({"batch_size": 0}, "SGD.batch_size=0"),
        ({"steps": 0}, "SGD.steps=0: must be >= 1, or null for whole epochs"),
        ({"max_grad_norm": 0}, "SGD.max_grad_norm=0: must be > 0"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        SGD(**settings)
