"""Narrower nets: parts of the whole one by their tensors and by what they compute."""

import pickle

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.errors import ConfigError, ModelError
from raycollab.models import CNN, GPT, MLP, Adapted, Cast, Headed, LogMel, LoRA, Narrowed, ResNet, Sequential
from raycollab.models.base import share_of
from raycollab.params import FlatModel
from raycollab.recipe import from_plain, to_plain
from raycollab.spec import leading

SLICES = rc.Exchange(slices=True)
NETS = [  # and what goes in
    (MLP(6, 3, (7, 5)), torch.randn(4, 6)),
    (CNN(3, size=8, channels=(4, 6), hidden=5), torch.randn(4, 1, 8, 8)),
    (CNN(3, size=8, channels=(4, 6), hidden=5, batch_norm=True), torch.randn(4, 1, 8, 8)),
    (ResNet(3, depth=8, width=5, in_channels=1, zeros="behind"), torch.randn(4, 1, 8, 8)),
    (Headed(CNN(5, size=8, channels=(4,), hidden=6), MLP(5, 3, (4,))), torch.randn(4, 1, 8, 8)),
    (Sequential((LogMel(800, mels=4, window_s=0.04, hop_s=0.02), CNN(3, size=4, channels=(4,)))), torch.randn(4, 64)),
]
each_net = pytest.mark.parametrize(("net", "inputs"), NETS, ids=[type(net).__name__ for net, _ in NETS])
each_width = pytest.mark.parametrize("width", [0.2, 0.5, 0.75])


@each_net
@each_width
def test_each_tensor_is_the_first_rows_and_columns_of_the_whole(net, inputs, width):
    whole, part = FlatModel(net.build(), SLICES), FlatModel(net.narrowed(width).build(), SLICES, whole=False)
    coverage = whole.spec.coverage(part.spec)  # which refuses what is larger, or is called otherwise
    assert coverage.params.count == part.spec.num_params < whole.spec.num_params
    assert [entry.name for entry in part.spec.params] == [entry.name for entry in whole.spec.params]
    assert [entry.name for entry in part.spec.buffers] == [entry.name for entry in whole.spec.buffers]


@each_net
@each_width
def test_it_computes_as_the_whole_with_all_others_at_zero(net, inputs, width):
    """Also behind nn.Flatten, which lays out channel after channel, and in shortcuts."""
    whole, part = net.build().eval(), net.narrowed(width).build().eval()
    state = part.state_dict()
    for name, tensor in whole.state_dict().items():
        tensor.zero_()
        if tensor.ndim:
            leading(tensor, state[name].shape).copy_(torch.rand_like(state[name]))
            state[name].copy_(leading(tensor, state[name].shape))
    torch.testing.assert_close(part(inputs), whole(inputs), rtol=1e-4, atol=1e-5)
    assert part(inputs).std() > 0


@each_net
def test_inputs_and_outputs_stay(net, inputs):
    assert net.narrowed(0.01).build()(inputs).shape == net.build()(inputs).shape


def test_widths_are_rounded_up_and_no_layer_is_ever_empty():
    assert [share_of(100, 0.07), share_of(10, 0.25), share_of(3, 1.0), share_of(4, 0.001)] == [7, 3, 3, 1]
    assert MLP(6, 3, (8, 1)).narrowed(0.1) == MLP(6, 3, (1, 1))


def test_outputs_of_narrower_layers_are_scaled_in_training_and_in_use():
    """Relu(h) / w, once a hidden layer; the last layer has all of its outputs."""
    torch.manual_seed(0)
    module, inputs = Narrowed(MLP(6, 3, (8,)), 0.25).build(), torch.randn(4, 6)
    hidden = torch.relu(nn.functional.linear(inputs, module[1].weight, module[1].bias))
    expected = nn.functional.linear(hidden / 0.25, module[3].weight, module[3].bias)
    torch.testing.assert_close(module(inputs), expected)
    torch.testing.assert_close(module.eval()(inputs), expected)


def test_a_trunks_last_layer_is_as_wide_as_ever_and_not_scaled():
    net = Headed(MLP(6, 4, ()), MLP(4, 3, (8,)))
    hooked = [name for name, layer in Narrowed(net, 0.5, scaled=True).build().named_modules() if layer._forward_hooks]
    assert hooked == ["head.1"]


@pytest.mark.parametrize("recipe", [Narrowed(NETS[0][0]), Narrowed(NETS[0][0], 0.5)])
def test_nothing_is_scaled_at_full_width_or_unasked(recipe):
    assert not any(layer._forward_hooks for layer in recipe.build().modules())


def test_it_begins_as_the_recipe_of_that_size_does():
    torch.manual_seed(0)
    scaled = Narrowed(NETS[1][0], 0.5).build()
    torch.manual_seed(0)
    plain = NETS[1][0].narrowed(0.5).build()
    assert all(torch.equal(one, other) for one, other in zip(scaled.parameters(), plain.parameters(), strict=True))


def test_a_part_of_a_part_and_around_a_part():
    half = Narrowed(MLP(6, 3, (8,)), 0.5)
    assert half.narrowed(0.5) == Narrowed(MLP(6, 3, (8,)), 0.25)
    assert Cast(MLP(6, 3, (8,))).narrowed(0.5) == Cast(MLP(6, 3, (4,)))
    assert half.num_outputs == 3


def test_it_is_a_value():
    recipe = Narrowed(MLP(6, 3, (8,)), 0.5, scaled=False)
    assert pickle.loads(pickle.dumps(recipe)) == from_plain(to_plain(recipe)) == recipe


@pytest.mark.parametrize("width", [0, -0.5, 1.01])
def test_refuses_widths(width):
    with pytest.raises(ConfigError, match=rf"Narrowed.width={width}: must be in \(0, 1\]"):
        Narrowed(MLP(6, 3), width)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (GPT(9), "GPT has no narrower nets inside; models that have: CNN, .*MLP, .*ResNet"),
        (Adapted(MLP(6, 3), LoRA(("1",))), "Adapted has no narrower nets inside"),
        (ResNet(3), r"ResNet.zeros='around': has no narrower nets inside; set zeros='behind'"),
        (Headed(GPT(9), MLP(6, 3)), "GPT has no"),
    ],
)
def test_refuses_nets(net, message):
    with pytest.raises(ModelError, match=message):
        Narrowed(net, 0.5)
