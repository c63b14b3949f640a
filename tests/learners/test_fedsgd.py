import math

import pytest
import torch

import raycollab as rc
from raycollab.errors import ConfigError, ModelError, UpdateError
from raycollab.learners import FedSGD
from raycollab.types import Round

from .conftest import TASK, build


@pytest.mark.parametrize("batch_size", [1, 6, 1000])
def test_equals_torch(bench, batch_size):
    """Minus the gradient of the mean loss over all 20 examples, in however many pieces."""
    module = build()
    loss = TASK.loss(module, bench.shard.columns())
    loss.backward()
    expected = -torch.cat([p.grad.reshape(-1) for p in module.parameters()])
    update, state = FedSGD(batch_size).update(bench.problem, bench.params, {}, bench.round)
    torch.testing.assert_close(update.vectors["delta"], expected, rtol=1e-4, atol=1e-6)
    assert update.scalars["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert (update.weight, state) == (20.0, {})


def test_what_it_reports(bench):
    """One step, however many batches it took; the model has not moved."""
    update, _ = FedSGD(6).update(bench.problem, bench.params, {}, bench.round)
    assert {name: update.scalars[name] for name in ("steps", "effective_steps", "counted")} == {
        "steps": 1.0,
        "effective_steps": 1.0,
        "counted": 20.0,
    }
    assert torch.equal(bench.model.read(), bench.params)


@pytest.mark.parametrize("steps", [1, 2])
def test_some_batches_of_the_shard(bench, steps):
    """Minus the gradient over the round's first batches alone, other ones in the next round; no step is rounded in."""
    learner = FedSGD(6, steps=steps)
    deltas = []
    for index in (1, 2):
        round = Round(index, 7, 0, bench.round.vectors)
        update, _ = learner.update(bench.problem, bench.params, {}, round)
        batches = list(bench.problem.batches(round, batch_size=6, epochs=1, steps=steps))
        rows = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
        module = build()
        TASK.loss(module, rows).backward()
        expected = -torch.cat([p.grad.reshape(-1) for p in module.parameters()])
        torch.testing.assert_close(update.vectors["delta"], expected, rtol=1e-4, atol=1e-6)
        assert update.scalars["counted"] == 6 * steps
        deltas.append(update.vectors["delta"])
    assert not torch.equal(*deltas)


def test_one_batch_a_round_is_synchronous_data_parallel_training(bench, tmp_path):
    """Clipped gradients, AdamW and a schedule on the driver: torch's own AdamW over the batches of all agents at once.

    Sums in another order: 1e-5 of a rate of 0.01 over five steps.
    """
    halves = [{name: column[part] for name, column in bench.shard.columns().items()}
              for part in (slice(0, 12), slice(12, 20))]  # fmt: skip
    adamw, schedule = {"lr": 1e-2, "betas": (0.9, 0.99), "weight_decay": 0.1}, rc.Cosine(length=5, warmup=2)
    result = rc.fit(
        [
            rc.Agent(f"a{i}", rc.data.Arrays(half), FedSGD(4, steps=1), val_fraction=0.0)
            for i, half in enumerate(halves)
        ],
        rc.chain(rc.Mean("tokens"), rc.ClipNorm(0.5), rc.ServerOptimizer("AdamW", adamw), rc.Scale(schedule)),
        test=rc.data.Arrays(halves[0]),
        task=TASK,
        run=rc.RunConfig(num_rounds=5, dir=str(tmp_path), seed=3),
        scaling=rc.ScalingConfig(pool="local"),
    )
    module = (
        rc.fit(
            [rc.Agent("a0", rc.data.Arrays(halves[0]), FedSGD(4, steps=1), val_fraction=0.0)],
            rc.chain(rc.Mean(), rc.ServerOptimizer("SGD", {"lr": 0.0})),
            test=rc.data.Arrays(halves[0]),
            task=TASK,
            run=rc.RunConfig(num_rounds=1, dir=str(tmp_path), seed=3),
            scaling=rc.ScalingConfig(pool="local"),
        )
        .model(task=TASK)
        .module
    )  # the initial weights of seed 3
    optimizer = torch.optim.AdamW(module.parameters(), **adamw)
    for index in range(1, 6):
        optimizer.param_groups[0]["lr"] = 1e-2 * schedule.factor(index - 1)
        optimizer.zero_grad()
        for agent, half in enumerate(halves):
            shard = rc.Shard(half, val_fraction=0.0, seed=0)
            seed = Round(index, 3, 0, {}).seed_for("batches", f"a{agent}", 0)
            (TASK.loss(module.train(), next(shard.batches("train", 4, seed=seed))) / 2).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        optimizer.step()
    found = dict(result.model(task=TASK).module.named_parameters())
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(found[name], parameter, rtol=0, atol=1e-5)


def test_autocast_computes_in_bfloat16(bench):
    plain, low = (
        FedSGD(20, autocast=on).update(bench.problem, bench.params, {}, bench.round)[0] for on in (False, True)
    )
    gap = (plain.vectors["delta"] - low.vectors["delta"]).norm() / plain.vectors["delta"].norm()
    assert 0 < gap < 0.05
    assert math.isclose(plain.scalars["loss"], low.scalars["loss"], rel_tol=0.02)


def test_private_parameters_are_refused(private_head):
    message = (
        "FedSGD takes no step at the agent, so the private parameters 6.weight, 6.bias would never learn: exchange"
    )
    with pytest.raises(ModelError, match=message):
        FedSGD().update(private_head.problem, private_head.params, {}, private_head.round)


def test_a_loss_that_is_not_finite(bench):
    with pytest.raises(UpdateError, match="the loss is nan"):
        FedSGD().update(bench.poison(), bench.params, {}, bench.round)


def test_refuses():
    with pytest.raises(ConfigError, match=r"FedSGD\.batch_size=0: must be >= 1"):
        FedSGD(0)
    with pytest.raises(ConfigError, match=r"FedSGD\.steps=0: must be >= 1, or null for the whole shard"):
        FedSGD(steps=0)
