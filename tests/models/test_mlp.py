import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.models import MLP


@pytest.mark.parametrize(
    ("hidden", "expected"), [((), 7 * 3 + 3), ((5,), 7 * 5 + 5 + 5 * 3 + 3), ([4, 2], 32 + 10 + 9)]
)
def test_number_of_parameters(hidden, expected):
    assert sum(p.numel() for p in MLP(7, 3, hidden).build().parameters()) == expected


@pytest.mark.parametrize("shape", [(4, 8), (4, 2, 4), (4, 2, 2, 2)])
def test_shapes(shape):
    assert MLP(8, 3, (5,)).build()(torch.zeros(shape)).shape == (4, 3)


def test_relu_stands_between_and_not_at_the_end():
    assert [type(layer).__name__ for layer in MLP(2, 2, (2,)).build()] == ["Flatten", "Linear", "ReLU", "Linear"]


def test_initial_weights_come_from_torchs_seed():
    first, again = (torch.manual_seed(3) and MLP(2, 2).build()[1].weight for _ in range(2))
    assert torch.equal(first, again)


def test_a_value():
    assert MLP(2, 3, [4]) == MLP(2, 3, (4,))
    assert hash(MLP(2, 3, [4])) == hash(MLP(2, 3, (4,)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_features": 0, "num_outputs": 1}, "MLP.num_features=0: must be >= 1"),
        ({"num_features": 1, "num_outputs": 0}, "MLP.num_outputs=0: must be >= 1"),
        ({"num_features": 1, "num_outputs": 1, "hidden": (3, 0)}, r"MLP.hidden=\(3, 0\): widths must be >= 1"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        MLP(**settings)
