import pytest
import torch
from torch import nn

from raycollab.errors import ConfigError
from raycollab.models import CNN


@pytest.mark.parametrize(
    ("settings", "size", "channels"),
    [
        ({}, 28, 1),
        ({"size": 8, "channels": (4,), "hidden": 3}, 8, 1),
        ({"size": 9, "channels": (4, 2, 3), "in_channels": 3, "batch_norm": True}, 9, 3),  # 9 -> 4 -> 2 -> 1
        ({"size": 4, "channels": ()}, 4, 1),
    ],
)
def test_shapes(settings, size, channels):
    assert CNN(5, **settings).build()(torch.zeros(2, channels, size, size)).shape == (2, 5)


def test_number_of_parameters():
    """conv 1*9*2 + 2, then 2 channels of 2x2 -> 3 -> 4: 8*3 + 3 + 3*4 + 4; BatchNorm replaces 2 biases by 2 + 2."""
    plain, normed = (CNN(4, size=4, channels=(2,), hidden=3, batch_norm=norm).build() for norm in (False, True))
    assert sum(p.numel() for p in plain.parameters()) == 20 + 27 + 16
    assert sum(p.numel() for p in normed.parameters()) == 22 + 27 + 16
    assert isinstance(normed[1], nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 7, "channels": (1, 1, 1)}, r"CNN.size=7: is halved 3 times by channels=\(1, 1, 1\)"),
        ({"num_outputs": 0}, "CNN.num_outputs=0: must be >= 1"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        CNN(**{"num_outputs": 2, **settings})
