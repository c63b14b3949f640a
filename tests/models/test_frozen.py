import pytest
import torch

from raycollab.errors import ConfigError, ModelError
from raycollab.models import MLP, Frozen, ResNet
from raycollab.params import Exchange, FlatModel
from raycollab.recipe import from_plain, to_plain

SMALL = ResNet(3, depth=8, width=2)


def trainable(model):
    return [name for name, parameter in model.build().named_parameters() if parameter.requires_grad]


def test_only_what_is_not_named_learns_and_travels():
    model = Frozen(SMALL, ("*",), but=("linear.*",))
    assert trainable(model) == ["linear.weight", "linear.bias"]
    assert [entry.name for entry in FlatModel(model.build(), Exchange()).spec.params] == [
        "linear.weight",
        "linear.bias",
    ]
    assert set(model.build().state_dict()) == set(SMALL.build().state_dict())
    assert set(trainable(SMALL)) - set(trainable(Frozen(SMALL, ("layer1.*",)))) == {
        name for name in trainable(SMALL) if name.startswith("layer1.")
    }


@pytest.mark.parametrize("fixed", [True, False])
def test_norms_of_frozen_parts_are_those_of_evaluation(fixed):
    """In training the frozen bn1 keeps its statistics, and gives what it gives in evaluation, unless told otherwise."""
    module = Frozen(SMALL, ("conv1.*", "bn1.*"), fixed_norms=fixed).build().train()
    seen = []
    module.bn1.register_forward_hook(lambda norm, given, out: seen.append(out))
    images = torch.randn(4, 3, 8, 8) + 1
    module(images)
    assert torch.equal(module.bn1.running_mean, torch.zeros(2)) is fixed
    assert not torch.equal(module.layer1[0].bn1.running_mean, torch.zeros(2))  # that of a part that learns
    plain = module.conv1(images) / (1 + module.bn1.eps) ** 0.5
    assert torch.allclose(seen[0], plain, atol=1e-6) is fixed


def test_it_survives_a_recipe_and_says_what_the_net_says():
    model = Frozen(SMALL, ("conv1.*",))
    assert from_plain(to_plain(model)) == model
    assert model.num_outputs == 3


@pytest.mark.parametrize(
    ("patterns", "but", "message"),
    [
        (("head.*",), (), r"Frozen: 'head.\*' matches no parameter of the net; it has: 1.weight, 1.bias"),
        (("1.*",), ("2.*",), r"Frozen: '2.\*' matches no parameter"),
        (("*",), (), r"Frozen.patterns=\('\*',\): nothing is left to learn; name what learns in but="),
    ],
)
def test_what_cannot_be_frozen(patterns, but, message):
    with pytest.raises(ModelError, match=message):
        Frozen(MLP(4, 3, ()), patterns, but).build()


def test_refuses_no_pattern():
    with pytest.raises(ConfigError, match=r"Frozen.patterns=\(\): must name what is frozen"):
        Frozen(MLP(4, 3), ())
