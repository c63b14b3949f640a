import pytest
import torch
from torch import nn

from raycollab.data import Shard
from raycollab.learners import SGD
from raycollab.learners.local import clip_gradients
from raycollab.models import Module
from raycollab.params import Exchange, FlatModel
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
