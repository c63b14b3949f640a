import dataclasses

import pytest
import torch
from torch import nn

from raycollab.data import Shard
from raycollab.errors import ConfigError
from raycollab.learners import SGD
from raycollab.learners.local import clip_gradients
from raycollab.models import Module
from raycollab.params import Exchange, FlatModel
from raycollab.schedules import Decay
from raycollab.spec import BUFFERS
from raycollab.task import Problem
from raycollab.tasks import Classification
from raycollab.types import Round


def net(dtype=torch.float32, norm=True):
    layers = [nn.Linear(2, 3, dtype=dtype), nn.BatchNorm1d(3)] if norm else [nn.Linear(2, 2, dtype=dtype)]
    return nn.Sequential(*layers, nn.Linear(3, 2)) if norm else nn.Sequential(*layers)


def run(module, step, features=None, **exchange):
    features = torch.arange(8.0).reshape(4, 2) if features is None else features
    shard = Shard({"features": features, "label": torch.tensor([0, 1, 0, 1])}, val_fraction=0.0, seed=0)
    model = FlatModel(module, Exchange(**exchange))
    problem = Problem("a", Classification(Module(nn.Identity), 2), model, shard, lambda: False)
    round = Round(1, 0, 4, {"params": model.read(), BUFFERS: model.read_buffers()})
    return SGD(batch_size=2).train(problem, round.vectors["params"], round, step), round


def test_the_delta_is_new_minus_old():
    update, _ = run(net(), lambda model, factor: model.flats[0].add_(1.0))
    torch.testing.assert_close(update.vectors["delta"], torch.full_like(update.vectors["delta"], 2.0))  # two batches
    assert update.base_version == 4


def test_buffers_are_a_difference_too():
    """BatchNorm keeps 0.9 of the mean of the activations: with zero weights the bias c, so 0.1 c after one batch."""
    module = net()
    module[0].weight.data.zero_()
    module[0].bias.data.fill_(10.0)
    update, round = run(module, lambda model, factor: None)
    mean, variance = (round.vectors[BUFFERS] + update.vectors[BUFFERS]).split(3)
    torch.testing.assert_close(mean, torch.full((3,), 10 * (1 - 0.9**2)))
    torch.testing.assert_close(variance, torch.full((3,), 0.9**2))


def test_private_buffers_are_not_sent():
    update, _ = run(net(), lambda model, factor: None, buffers="private")
    assert set(update.vectors) == {"delta"}


def test_half_precision_measures_from_where_it_really_started():
    """params rounds to bfloat16 when it is loaded; the rounding is no part of what was learned."""
    update, _ = run(
        net(torch.bfloat16, norm=False), lambda model, factor: None, features=torch.zeros(4, 2, dtype=torch.bfloat16)
    )
    assert update.vectors["delta"].abs().max() == 0
    assert update.vectors["delta"].dtype == torch.float32


@pytest.mark.parametrize(("limit", "norm"), [(1.0, 1.0), (5.0, 5.0), (10.0, 5.0)])
def test_clip_gradients_over_all_dtypes(limit, norm):
    module = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False), "b": nn.Linear(1, 1, bias=False, dtype=torch.float64)})
    model = FlatModel(module, Exchange())
    model.grads[0].fill_(3.0)
    model.grads[1].fill_(-4.0)
    clip_gradients(model, limit)
    assert torch.cat([grad.double() for grad in model.grads]).norm().item() == pytest.approx(norm, rel=1e-5)
    assert model.grads[0].sign().item() == 1


def factors(bench, index, **settings):
    """The factors on lr of all steps of a round; the shard has 20 examples, so 4 batches of 6 a pass."""
    seen = []
    learner = SGD(batch_size=6, **settings)
    learner.train(
        bench.problem, bench.params, dataclasses.replace(bench.round, index=index), lambda m, f: seen.append(f)
    )
    return seen


@pytest.mark.parametrize(
    ("over", "settings", "expected"),
    [
        ("rounds", {"epochs": 2}, [0.25] * 8),
        ("epochs", {"epochs": 2}, [0.5**4] * 4 + [0.5**5] * 4),  # two epochs in each of the rounds before
        ("epochs", {"steps": 3}, [0.5, 0.5, 0.25]),  # steps 6, 7 and 8 are of passes 1, 1 and 2
        ("steps", {"steps": 3}, [0.5**6, 0.5**7, 0.5**8]),
        ("steps", {"epochs": 1}, [0.5**step for step in range(8, 12)]),
    ],
)
def test_a_schedule_counts_over_the_whole_run(bench, over, settings, expected):
    assert factors(bench, 3, schedule=Decay(0.5, over=over), **settings) == expected


def test_a_schedule_is_a_factor_on_lr(bench):
    """Half of the rate in every step is the learner of half of the rate, bit for bit: 0.5 is exact."""
    both = SGD(lr=0.2, schedule=Decay(0.5), batch_size=6), SGD(lr=0.1, batch_size=6)
    second = dataclasses.replace(bench.round, index=2)
    assert torch.equal(*(each.update(bench.problem, bench.params, {}, second)[0].vectors["delta"] for each in both))


@pytest.mark.parametrize("micro_batch_size", [1, 3, 4, 6])
def test_micro_batches_only_change_the_order_of_the_sum(bench, micro_batch_size):
    """Also in uneven pieces, 4 + 2; the tolerance is that of tests/learners/test_sgd.py."""
    whole, pieces = SGD(batch_size=6), SGD(batch_size=6, micro_batch_size=micro_batch_size)
    one, other = (each.update(bench.problem, bench.params, {}, bench.round)[0] for each in (whole, pieces))
    torch.testing.assert_close(one.vectors["delta"], other.vectors["delta"], rtol=1e-4, atol=1e-6)
    assert one.scalars["loss"] == pytest.approx(other.scalars["loss"], rel=1e-5)
    assert one.scalars["steps"] == other.scalars["steps"]


def test_micro_batches_are_clipped_as_a_whole(bench):
    both = [SGD(batch_size=6, micro_batch_size=size, max_grad_norm=0.01) for size in (None, 2)]
    one, other = (each.update(bench.problem, bench.params, {}, bench.round)[0].vectors["delta"] for each in both)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_autocast_computes_in_bfloat16_and_keeps_float32_parameters(bench):
    """bfloat16 has 8 bits: activations within 2^-8 of theirs, and deltas near those of float32, but not the same."""
    seen = []
    handle = bench.model.module[-1].register_forward_hook(lambda layer, given, made: seen.append(made.dtype))
    exact, cast = (
        SGD(batch_size=6, autocast=autocast).update(bench.problem, bench.params, {}, bench.round)[0]
        for autocast in (False, True)
    )
    handle.remove()
    assert seen == [torch.float32] * 4 + [torch.bfloat16] * 4
    assert {flat.dtype for flat in bench.model.flats} == {p.dtype for p in bench.model.module.parameters()}
    assert {flat.dtype for flat in bench.model.flats} == {cast.vectors["delta"].dtype} == {torch.float32}
    distance = (cast.vectors["delta"] - exact.vectors["delta"]).norm() / exact.vectors["delta"].norm()
    assert 0 < distance < 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"micro_batch_size": 0}, r"SGD.micro_batch_size=0: must be in 1..batch_size=32, or null for whole batches"),
        ({"micro_batch_size": 33}, r"SGD.micro_batch_size=33: must be in 1..batch_size=32"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        SGD(**settings)
