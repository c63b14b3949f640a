"""Slices of a module: they compute with its tensors, where they are."""

import copy

import pytest
import torch

from raycollab.errors import ModelError
from raycollab.models import CNN, MLP, Cast, Narrowed
from raycollab.models.sliced import narrower, sliced, width_of
from raycollab.spec import leading

NET = CNN(3, size=8, channels=(4, 6), hidden=5, batch_norm=True)
IMAGES = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def twin(whole, net, width):
    """A module of its own with the slice's weights."""
    part = net.narrowed(width).build()
    for name, tensor in part.state_dict().items():
        tensor.copy_(leading(whole.state_dict()[name], tensor.shape))
    return part


@pytest.mark.parametrize("width", [0.25, 0.5])
def test_outputs_gradients_and_statistics_are_those_of_a_net_of_its_own(width):
    whole = NET.build()
    own = twin(whole, NET, width)
    part = sliced(whole, NET, width)
    torch.testing.assert_close(part(IMAGES), own(IMAGES))
    part(IMAGES).square().sum().backward()
    own(IMAGES).square().sum().backward()
    expected = dict(own.named_parameters())
    for name, parameter in whole.named_parameters():
        inside = leading(parameter.grad, expected[name].shape)
        torch.testing.assert_close(inside, expected[name].grad)
        assert parameter.grad.count_nonzero() == inside.count_nonzero()  # and nothing anywhere else
    for name, buffer in own.named_buffers():
        torch.testing.assert_close(leading(dict(whole.named_buffers())[name], buffer.shape), buffer)
    assert torch.equal(whole[1].running_mean[2:], torch.zeros(2))


def test_it_follows_its_module():
    whole = NET.build()
    part = sliced(whole, NET, 0.5)
    before = part(IMAGES)
    with torch.no_grad():
        whole[0].weight.mul_(2)
        whole[9].bias.add_(1)
    assert not torch.equal(part(IMAGES), before)
    assert not sliced(whole.eval(), NET, 0.5).training
    assert sliced(whole.train(), NET, 0.5).part.training


def test_it_adds_nothing_to_its_module():
    whole = NET.build()
    names = list(whole.state_dict())
    sliced(whole, NET, 0.5)
    sliced(whole, NET, 0.5)
    assert list(whole.state_dict()) == names
    assert len(whole._narrower) == 1
    assert all(parameter.is_meta for parameter in whole._narrower[NET, 0.5].parameters())
    copied = copy.deepcopy(whole)
    torch.testing.assert_close(sliced(copied, NET, 0.5)(IMAGES), sliced(whole, NET, 0.5)(IMAGES))


def test_recipes_of_other_widths():
    net = MLP(6, 3, (8,))
    assert narrower(net, 0.25) == Narrowed(net, 0.25, scaled=False)
    assert narrower(Narrowed(net, 0.5, scaled=True), 0.25) == Narrowed(net, 0.25, scaled=True)
    assert narrower(Cast(Narrowed(net, 0.5)), 0.25) == Cast(Narrowed(net, 0.25))
    assert [width_of(each) for each in (net, Narrowed(net, 0.5), Cast(Narrowed(net, 0.5)), Cast(net))] == [
        1,
        0.5,
        0.5,
        1,
    ]


def test_a_module_of_another_form_has_no_such_slices():
    """A slice of a wider net's recipe is no part of a narrower module, and none is made up."""
    small, large = MLP(6, 3, (4,)), MLP(6, 3, (16,))
    module = small.build()
    with pytest.raises(ModelError, match=r"shape .4, 6. has no part of shape .8, 6."):
        sliced(module, large, 0.5)(torch.zeros(1, 6))
    assert sliced(module, small, 0.5)(torch.zeros(1, 6)).shape == (1, 3)
