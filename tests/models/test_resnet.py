import os

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional

import raycollab as rc
from raycollab.errors import ConfigError
from raycollab.models import Pretrained, ResNet

WEIGHTS = "models/resnet20_cifar10.safetensors"
real_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


@pytest.mark.parametrize(("depth", "published"), [(20, 269_722), (32, 464_154), (56, 853_018), (110, 1_727_962)])
def test_number_of_parameters(depth, published):
    """As the README of the source states them: 0.27, 0.46, 0.85 and 1.7 million."""
    assert sum(p.numel() for p in ResNet(10, depth=depth).build().parameters()) == published


@pytest.mark.parametrize(
    ("settings", "channels", "size"), [({}, 3, 32), ({"depth": 8, "width": 2, "in_channels": 1}, 1, 9)]
)
def test_shapes(settings, channels, size):
    assert ResNet(5, **settings).build()(torch.zeros(2, channels, size, size)).shape == (2, 5)


def test_a_shortcut_takes_every_second_pixel_between_channels_of_zeros():
    """With its last norm at 0 a block is its shortcut: 2 channels become 0, a, b, 0 at half the size."""
    block = ResNet(5, depth=8, width=2).build().layer2[0]
    nn.init.zeros_(block.bn2.weight)
    images = torch.rand(1, 2, 4, 4)
    expected = torch.zeros(1, 4, 2, 2)
    expected[:, 1:3] = images[:, :, ::2, ::2]
    assert torch.equal(block(images), expected)


@real_data
def test_names_and_accuracy_are_those_of_the_published_weights():
    """It has 91.78 % on all test images; 88 % of 200 is two deviations less."""
    with safe_open(f"{os.environ['RAYCOLLAB_DATA']}/{WEIGHTS}", "pt") as file:
        assert set(ResNet(10).build().state_dict()) == set(file.keys()) | {
            name for name in ResNet(10).build().state_dict() if name.endswith("num_batches_tracked")
        }
    statistics = {"image": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
    test = rc.data.Parquet("cifar10_test.parquet", images={"image": "rgb"}, normalize=statistics)
    held = test.open(torch.arange(200).numpy()).columns
    logits = Pretrained(ResNet(10), WEIGHTS).build().eval()(held["image"])
    assert (logits.argmax(1) == held["label"]).float().mean() >= 0.88
    assert functional.cross_entropy(logits, held["label"]) < 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 18}, "ResNet.depth=18: must be 6 n \\+ 2, such as 20, 32 or 56"),
        ({"depth": 2}, "ResNet.depth=2: must be"),
        ({"width": 3}, "ResNet.width=3: must be an even number >= 2"),
        ({"num_outputs": 0}, "ResNet.num_outputs=0: must be >= 1"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        ResNet(**{"num_outputs": 10, **settings})
