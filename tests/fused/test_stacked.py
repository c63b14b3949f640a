"""Steps of several copies at once are the steps of each of them, and models that cannot take them are left alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from raycollab.fused import Descent, Stacked, layers_of
from raycollab.params import Exchange, FlatModel

MODULES = {
    "linear": (lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), (6,)),
    "no bias": (lambda: nn.Sequential(nn.Linear(6, 3, bias=False)), (6,)),
    "one layer": (lambda: nn.Linear(6, 3), (6,)),
    "sequences": (lambda: nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Flatten(), nn.Linear(20, 3)), (5, 6)),
    "nested": (lambda: nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(6, 4), nn.ReLU()), nn.Linear(4, 3)), (2, 3)),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(3, 4, 2, dilation=2),
                              nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)),
        (2, 8, 8),
    ),
}  # fmt: skip


def cross_entropy(labels):
    def losses(outputs):
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            each = functional.cross_entropy(leaf, labels, reduction="none")
            return each.detach(), torch.autograd.grad(each.sum(), leaf)[0]

    return losses


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("name", MODULES)
def test_every_copy_steps_as_by_itself(name, copies):
    """Three steps on own batches; 1e-5 is the rounding of sums in another order."""
    make, shape = MODULES[name]
    torch.manual_seed(0)
    model = FlatModel(make(), Exchange())
    start = model.read()
    stacked = Stacked(layers_of(model), model.spec, copies)
    stacked.load(start)
    batches = [(torch.randn(copies, 4, *shape), torch.randint(0, 3, (copies, 4))) for _ in range(3)]
    losses = []
    for inputs, labels in batches:
        descent = Descent(stacked.params, 0.1)
        losses.append(stacked.step(inputs.flatten(0, 1), cross_entropy(labels.flatten()), descent))
    for index in range(copies):
        model.load(start)
        for step, (inputs, labels) in enumerate(batches):
            model.zero_grad()
            loss = functional.cross_entropy(model.module(inputs[index]), labels[index])
            loss.backward()
            model.flats[0].sub_(model.grads[0], alpha=0.1)
            torch.testing.assert_close(losses[step][index], loss.detach(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(stacked.deltas(start)[index], model.read() - start, rtol=1e-5, atol=1e-5)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, inputs):
        return inputs + self.inner(inputs)


class Doubled(nn.Linear):
    def forward(self, inputs):
        return 2 * super().forward(inputs)


def hooked():
    module = nn.Sequential(nn.Linear(4, 2))
    module[0].register_forward_hook(lambda layer, given, made: made * 2)
    return module


def tied():
    first, last = nn.Linear(4, 4), nn.Linear(4, 4)
    last.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), last)


def frozen():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    module[0].weight.requires_grad_(False)
    return module


@pytest.mark.parametrize(
    "make",
    [
        Residual,
        hooked,
        tied,
        frozen,
        lambda: Doubled(4, 2),
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)),
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)),
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.Flatten()),
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3, padding="same"), nn.Flatten()),
        lambda: nn.Linear(4, 2, dtype=torch.bfloat16),
    ],
    ids=["residual", "hook", "tied", "frozen", "subclass", "dropout", "batchnorm", "groups", "padding", "bfloat16"],
)
def test_models_that_are_no_chain_of_known_layers_are_left_alone(make):
    assert layers_of(FlatModel(make(), Exchange())) is None


def test_models_with_a_private_part_are_left_alone():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    assert layers_of(FlatModel(module, Exchange(exclude=("1.*",)))) is None


def test_vectors_come_back_as_they_were_put():
    model = FlatModel(MODULES["linear"][0](), Exchange())
    stacked = Stacked(layers_of(model), model.spec, 2)
    vector = torch.arange(float(model.spec.num_params))
    tensors = stacked.like_params([None, vector])
    assert torch.equal(stacked.vector(tensors, 1), vector)
    assert not stacked.vector(tensors, 0).any()
