"""Patches, what a trunk sees of them, and what an autoencoder says of the others."""

import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.models import MaskedAutoencoder, ViT
from raycollab.models.vit import chosen, patches_of

SMALL = {"size": 4, "in_channels": 2, "patch": 2, "width": 6, "num_layers": 2, "num_heads": 3}
FORM = ViT(**SMALL)


def images(number=3):
    return torch.rand(number, 2, 4, 4, generator=torch.Generator().manual_seed(0))


def test_patches_are_squares_row_by_row():
    """Of a 4x4 image of 0 .. 15: the first has 0, 1 and what stands below them."""
    image = torch.arange(16.0).view(1, 1, 4, 4)
    expected = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert patches_of(image, 2)[0].tolist() == expected
    assert chosen(patches_of(image, 2), torch.tensor([[3, 0]]))[0].tolist() == [expected[3], expected[0]]


def test_number_of_parameters():
    """Patches 8*6 + 6; positions 4*6; a layer 6*18 + 18, 6*6 + 6, 6*24 + 24, 24*6 + 6 and norms 2*12; a last norm."""
    layer = (6 * 18 + 18) + (6 * 6 + 6) + (6 * 24 + 24) + (24 * 6 + 6) + 24
    assert sum(p.numel() for p in FORM.build().parameters()) == 54 + 24 + 2 * layer + 12


def test_layers_begin_with_values_of_their_own_from_torchs_seed():
    first, again = (torch.manual_seed(3) and FORM.build() for _ in range(2))
    assert all(torch.equal(first.state_dict()[name], value) for name, value in again.state_dict().items())
    assert not torch.equal(first.layers[0].linear1.weight, first.layers[1].linear1.weight)


def test_features_are_the_mean_over_all_patches():
    net = FORM.build().eval()
    every = torch.arange(4).expand(3, -1)
    torch.testing.assert_close(net(images()), net(images(), every).mean(1))
    assert net(images(), every[:, :2]).shape == (3, 2, 6)


def test_a_patch_that_is_not_seen_changes_nothing():
    net = FORM.build().eval()
    seen = torch.tensor([[0, 3]] * 3)
    changed = images()
    changed[:, :, :2, 2:] += 1  # patch 1
    assert torch.equal(net(images(), seen), net(changed, seen))
    assert not torch.equal(net(images(), seen + torch.tensor([1, 0])), net(changed, seen + torch.tensor([1, 0])))


def test_places_count():
    """Seen in another order the vectors are the same ones; the same values in other places are not."""
    net = FORM.build().eval()
    one, other = net(images(), torch.tensor([[0, 3]] * 3)), net(images(), torch.tensor([[3, 0]] * 3))
    torch.testing.assert_close(one, other.flip(1))
    torch.manual_seed(0)
    net.positions.data.normal_()
    assert not torch.allclose(net(images()), net(images().flip(3).flip(3).roll(2, 3)), atol=1e-3)


def test_an_autoencoder_says_something_of_every_patch():
    net = MaskedAutoencoder(FORM, width=4, num_heads=2).build().eval()
    seen = torch.tensor([[1, 2], [0, 1], [3, 2]])
    values = net(images(), seen)
    assert values.shape == (3, 4, 8)
    for row in range(3):  # each image by itself
        torch.testing.assert_close(net(images()[row : row + 1], seen[row : row + 1])[0], values[row])
    assert {name.partition(".")[0] for name, _ in net.named_parameters()} == {"trunk", "head"}
    assert set(net.trunk.state_dict()) == set(FORM.build().state_dict())


def test_every_parameter_gets_a_gradient_in_bfloat16_too():
    net = MaskedAutoencoder(FORM, width=4, num_heads=2).build()
    with torch.autocast("cpu", torch.bfloat16):
        net(images(), torch.tensor([[1, 2]] * 3)).square().mean().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ViT(size=28, patch=5), "ViT.patch=5: must divide size=28"),
        (lambda: ViT(width=10, num_heads=4), "ViT.width=10: must be a multiple of num_heads=4"),
        (lambda: ViT(num_layers=0), "ViT.num_layers=0: must be >= 1"),
        (lambda: MaskedAutoencoder("vit"), "MaskedAutoencoder.trunk='vit': must be a recipe of a ViT such as"),
        (lambda: MaskedAutoencoder(FORM, width=5), "MaskedAutoencoder.width=5: must be a multiple of num_heads=4"),
        (lambda: MaskedAutoencoder(FORM, num_layers=0), "MaskedAutoencoder.num_layers=0: must be >= 1"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
