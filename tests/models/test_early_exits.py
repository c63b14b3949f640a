"""Exits on the way through a net: where they are, what they see, and nets that end at one."""

import pickle

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.errors import ConfigError, ModelError
from raycollab.models import CNN, GPT, MLP, EarlyExits, Headed, Narrowed, ResNet
from raycollab.models.early_exits import END
from raycollab.params import FlatModel
from raycollab.recipe import from_plain, to_plain

NET = CNN(3, size=8, channels=(4, 6), hidden=5)  # conv 0, pool 2, conv 3, pool 5, flatten 6, linear 7, relu 8, linear 9
EXITS = EarlyExits(NET, ("2", "5", "8"))
IMAGES = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_each_exit_classifies_what_its_part_makes():
    module = EXITS.build()
    made = module(IMAGES, every=True)
    hidden = [nn.Sequential(*list(module.net)[:count])(IMAGES) for count in (3, 6, 9)]
    pooled = [hidden[0].mean((2, 3)), hidden[1].mean((2, 3)), hidden[2]]
    expected = [
        nn.functional.linear(features, exit.weight, exit.bias)
        for features, exit in zip(pooled, module.exits.values(), strict=True)
    ]
    for one, other in zip(made, [*expected, module.net(IMAGES)], strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(module(IMAGES), made[-1])


def test_the_net_begins_as_without_exits_and_keeps_its_names():
    torch.manual_seed(0)
    plain = NET.build().state_dict()
    torch.manual_seed(0)
    state = EXITS.build().state_dict()
    assert all(torch.equal(state[f"net.{name}"], tensor) for name, tensor in plain.items())
    assert [name for name in state if not name.startswith("net.")] == [
        f"exits.{name}.{part}" for name in ("2", "5", "8") for part in ("weight", "bias")
    ]
    assert EXITS.num_outputs == 3


@pytest.mark.parametrize(("upto", "held"), [("2", ["0"]), ("5", ["0", "3"]), ("8", ["0", "3", "7"])])
def test_a_net_that_ends_at_an_exit_is_a_part_of_the_whole(upto, held):
    whole, part = EXITS.build(), EarlyExits(NET, EXITS.after, upto=upto).build()
    assert sorted({name.split(".")[1] for name in part.state_dict() if name.startswith("net.")}) == held
    assert list(part.exits) == [name for name in EXITS.after if name <= upto]
    specs = [FlatModel(module, rc.Exchange(), whole=False).spec for module in (whole, part)]
    assert specs[0].coverage(specs[1]).params.count == specs[1].num_params
    part.load_state_dict({name: whole.state_dict()[name] for name in part.state_dict()})
    count = len(part.exits)
    for one, other in zip(part(IMAGES, every=True), whole(IMAGES, every=True)[:count], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(part(IMAGES), whole(IMAGES, every=True)[count - 1])


def test_shares_of_the_net():
    assert EXITS.build().shares == {"2": 0.3, "5": 0.6, "8": 0.9, END: 1.0}
    assert EarlyExits(NET, EXITS.after, upto="5").build().shares == {"2": 0.3, "5": 0.6}


def test_parts_inside_of_parts():
    """A stage of a residual net, and a layer of a trunk."""
    net = EarlyExits(ResNet(3, depth=14, width=4, in_channels=1), ("layer1", "layer2.0"))
    assert [tuple(exit.weight.shape) for exit in net.build().exits.values()] == [(3, 4), (3, 8)]
    assert [len(made) for made in net.build()(IMAGES, every=True)] == [4, 4, 4]
    headed = EarlyExits(Headed(MLP(64, 6, (5,)), MLP(6, 3, ())), ("trunk.2", "trunk"), upto="trunk.2")
    assert [tuple(exit.weight.shape) for exit in headed.build().exits.values()] == [(3, 5)]
    assert headed.build()(torch.zeros(2, 64)).shape == (2, 3)


def test_narrower_with_its_exits():
    part = Narrowed(EXITS, 0.5).build()
    assert [tuple(exit.weight.shape) for exit in part.exits.values()] == [(3, 2), (3, 3), (3, 3)]
    assert EXITS.narrowed(0.5) == EarlyExits(NET.narrowed(0.5), EXITS.after)


def test_it_is_a_value():
    recipe = EarlyExits(NET, ["2"], upto="2")
    assert pickle.loads(pickle.dumps(recipe)) == from_plain(to_plain(recipe)) == recipe


@pytest.mark.parametrize(
    ("net", "after", "message"),
    [
        (NET, ("12",), "the net has no part '12' to put an exit behind; there are: 0, 1, 2, 3, 4, 5, 6, 7, 8$"),
        (NET, ("9",), "no part '9'"),  # the end is an exit already
        (NET, ("5", "2"), r"after=\('5', '2'\): must be in the order of the net"),
        (NET, ("2", "2"), "must be in the order of the net, each place once"),
        (MLP(64, 3), ("0",), "there is no layer up to '0' that an exit could classify by"),
        (GPT(9), ("h",), "the net has no part 'h' .* none, as it is no nn.Sequential"),
    ],
)
def test_refuses_places(net, after, message):
    with pytest.raises(ModelError, match=message):
        EarlyExits(net, after).build()


def test_refuses_an_exit_behind_what_flattens_images():
    with pytest.raises(ModelError, match="behind '6' there are 24 features, and the layer before it makes 6: put the"):
        EarlyExits(NET, ("6",)).build()(IMAGES, every=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"after": ()}, r"EarlyExits.after=\(\): must name parts of the net"),
        ({"after": ("2",), "upto": "5"}, "EarlyExits.upto='5': must be one of the exits: 2"),
        ({"after": ("2",), "net": 3}, "EarlyExits.net=3: must be a recipe"),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        EarlyExits(**{"net": NET, **settings})


def test_a_part_that_stands_twice_runs_twice():
    relu, (first, middle, last) = nn.ReLU(), (nn.Linear(4, 4) for _ in range(3))
    twice = nn.Sequential(first, relu, middle, relu, last)
    changed = EarlyExits(MLP(4, 4, (4, 4)), after=("1",)).changed(twice)
    inputs = torch.randn(3, 4)
    torch.testing.assert_close(changed(inputs), twice(inputs))
