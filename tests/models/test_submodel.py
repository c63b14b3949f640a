"""Which part of a net an agent holds, as a value."""

import pickle

import pytest
import torch

from raycollab.errors import ConfigError, ModelError
from raycollab.models import CNN, GPT, MLP, EarlyExits, Narrowed, UpTo, Width
from raycollab.models.submodel import cut_out
from raycollab.recipe import from_plain, to_plain

NET = CNN(3, size=8, channels=(4, 6), hidden=5)


def test_a_width_of_a_net():
    assert Width(0.5, scaled=True).of(NET) == Narrowed(NET, 0.5, scaled=True)
    assert Width(0.5).of(NET) == Narrowed(NET, 0.5, scaled=False)
    assert Width(1.0).of(NET) == NET
    assert Width.slices
    assert not UpTo.slices


def test_up_to_an_exit():
    net = EarlyExits(NET, ("2", "5"))
    assert UpTo("2").of(net) == EarlyExits(NET, ("2", "5"), upto="2")


@pytest.mark.parametrize("holds", [Width(0.5, scaled=False), UpTo("3")])
def test_they_are_values(holds):
    assert pickle.loads(pickle.dumps(holds)) == from_plain(to_plain(holds)) == holds


@pytest.mark.parametrize("width", [0, -1, 1.5])
def test_refuses_widths(width):
    with pytest.raises(ConfigError, match=rf"Width.width={width}: must be in \(0, 1\]: a share of the hidden channels"):
        Width(width)


def test_refuses_nets_without_such_parts():
    with pytest.raises(ModelError, match="GPT has no narrower nets inside"):
        Width(0.5).of(GPT(9))
    with pytest.raises(ModelError, match=r"UpTo\('2'\): CNN has no exits; put EarlyExits around it"):
        UpTo("2").of(NET)
    with pytest.raises(ConfigError, match=r"EarlyExits.upto='3': must be one of the exits: 2, 5"):
        UpTo("3").of(EarlyExits(NET, ("2", "5")))


def test_what_is_cut_out_has_the_first_rows_and_columns():
    whole = MLP(4, 3, (6,)).build()
    part = cut_out(MLP(4, 3, (2,)).build(), whole.state_dict())
    assert torch.equal(part[1].weight, whole[1].weight[:2])
    assert torch.equal(part[3].weight, whole[3].weight[:, :2])
    assert torch.equal(part[3].bias, whole[3].bias)
    with torch.no_grad():
        part[3].bias.zero_()
    assert whole[3].bias.count_nonzero() == 3  # a copy


@pytest.mark.parametrize("net", [MLP(4, 3, (7,)), MLP(4, 3, (6, 6))])
def test_what_is_larger_or_another_is_not_cut_out(net):
    with pytest.raises(ModelError, match=r"of shape \[.*\] is no part of the whole net"):
        cut_out(net.build(), MLP(4, 3, (6,)).build().state_dict())
