import pytest
import torch
from torch import nn

from raycollab.errors import ModelError
from raycollab.models import MLP
from raycollab.tasks import Classification
from raycollab.tasks.features import head_inputs

TASK = Classification(MLP(3, 2, hidden=(4,)), 2)
BATCH = {"features": torch.randn(5, 3), "label": torch.tensor([0, 1, 0, 1, 0])}


def test_features_are_what_goes_into_the_last_layer():
    module = TASK.model()
    features = TASK.features(module, BATCH)
    assert torch.equal(features, module[:-1](BATCH["features"]))
    assert features.requires_grad


def test_one_forward_pass_gives_both():
    module, calls = TASK.model(), []
    module.register_forward_hook(lambda *_: calls.append(1))
    loss, features = TASK.loss_and_features(module, BATCH)
    assert len(calls) == 1
    assert torch.equal(loss, TASK.loss(module, BATCH))
    assert torch.equal(features, TASK.features(module, BATCH))


def test_nothing_stays_behind_on_the_module():
    """Also when the forward pass fails."""
    module = TASK.model()
    TASK.features(module, BATCH)
    with pytest.raises(RuntimeError):
        TASK.features(module, {"features": torch.zeros(5, 7)})
    assert not any(layer._forward_pre_hooks for layer in module.modules())


def test_features_of_any_shape_become_one_row_an_example():
    layer = nn.Linear(3, 1)
    with head_inputs(nn.Sequential(layer)) as seen:
        layer(torch.zeros(5, 2, 3))
    assert seen().shape == (5, 6)


class Aside(nn.Module):
    """Its last layer is never called."""

    def __init__(self):
        super().__init__()
        self.first, self.unused = nn.Linear(3, 2), nn.Linear(2, 2)

    def forward(self, inputs):
        return self.first(inputs)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Identity(), r"Identity has no nn\.Linear, so nothing says what its features are: override Task\.features"),
        (Aside(), r"the last nn\.Linear of Aside did not run in its forward pass: override Task\.features"),
    ],
)
def test_refuses(module, message):
    with pytest.raises(ModelError, match=message):
        TASK.features(module, BATCH)
