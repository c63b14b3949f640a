"""Clipped gradients of single examples, against a loop of plain autograd."""

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.data import Shard
from raycollab.learners.per_example import PerExample, check_examples_stand_alone
from raycollab.params import Exchange, FlatModel
from raycollab.task import Problem

MAX_NORM = 0.5


def problem(task, columns):
    torch.manual_seed(0)
    shard = Shard(columns, val_fraction=0.0, seed=0)
    return Problem("a", task, FlatModel(task.model(), Exchange()), shard, lambda: False)


def images():
    torch.manual_seed(1)
    task = rc.ImageClassification(rc.models.CNN(3, size=8, channels=(2,), hidden=5), 3)
    return problem(task, {"image": 3 * torch.randn(7, 1, 8, 8), "label": torch.randint(0, 3, (7,))})


def numbers():
    torch.manual_seed(1)
    task = rc.Regression(rc.models.MLP(4, 1, hidden=(5,)))
    return problem(task, {"features": torch.randn(7, 4), "label": torch.randn(7)})


def text():
    torch.manual_seed(1)
    task = rc.CausalLM(rc.models.GPT(11, num_layers=1, num_heads=2, width=8, context=6), 11)
    return problem(task, {"tokens": torch.randint(0, 11, (7, 7))})


def reference(problem):
    """Sum of the clipped gradients, one example at a time, over all parameters together."""
    total = torch.zeros(problem.model.spec.num_params)
    for row in range(problem.shard.num_examples("train")):
        problem.backward({name: column[row : row + 1] for name, column in problem.shard.columns("train").items()})
        grad = torch.cat([each.clone() for each in problem.model.grads])
        total += grad * min(1.0, MAX_NORM / float(grad.norm()))
    return total


@pytest.mark.parametrize("vectorised", [True, False])
@pytest.mark.parametrize("make", [images, numbers, text])
def test_sums_are_those_of_a_loop(make, vectorised):
    found = make()
    expected = reference(found)
    found.model.zero_grad()
    examples = PerExample(found, MAX_NORM, vectorised=vectorised)
    columns = found.shard.columns("train")
    examples.add({name: column[:3] for name, column in columns.items()})
    examples.add({name: column[3:] for name, column in columns.items()})
    torch.testing.assert_close(torch.cat(found.model.grads), expected, rtol=1e-4, atol=1e-6)
    assert 0 < expected.norm() < 7 * MAX_NORM


@pytest.mark.parametrize("vectorised", [True, False])
def test_an_example_that_is_not_finite_counts_as_zero(vectorised):
    found = numbers()
    columns = found.shard.columns("train")
    bad = {**columns, "features": torch.cat([columns["features"][:6], torch.full((1, 4), torch.nan)])}
    good = {name: column[:6] for name, column in columns.items()}
    sums = []
    for batch in (bad, good):
        found.model.zero_grad()
        PerExample(found, MAX_NORM, vectorised=vectorised).add(batch)
        sums.append(torch.cat([each.clone() for each in found.model.grads]))
    torch.testing.assert_close(*sums)


@pytest.mark.parametrize("module", [nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False)])
def test_batch_norm_is_refused(module):
    with pytest.raises(rc.ModelError, match=r"DPSGD: 0.1 is a BatchNorm1d, which mixes .*GroupNorm or LayerNorm"):
        check_examples_stand_alone(nn.Sequential(nn.Sequential(nn.Linear(3, 3), module)), "DPSGD")


def test_one_that_is_fixed_is_not():
    net = rc.models.Frozen(rc.models.CNN(3, size=8, channels=(2,), hidden=5, batch_norm=True), ("[0-3].*",))
    check_examples_stand_alone(net.build(), "DPSGD")


def test_what_cannot_be_vectorised_says_so():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(4, 1)

        def forward(self, rows):
            out = self.line(rows)
            return out if out.sum().item() > 0 else -out

    task = rc.Regression(rc.models.Module(Odd))
    found = problem(task, {"features": torch.randn(7, 4), "label": torch.randn(7)})
    batch = found.shard.columns("train")
    with pytest.raises(rc.ModelError, match=r"Regression cannot take the gradients of examples together: .*vector"):
        PerExample(found, MAX_NORM, vectorised=True).add(batch)
    found.model.zero_grad()
    PerExample(found, MAX_NORM, vectorised=False).add(batch)
    assert torch.cat(found.model.grads).norm() > 0
