import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from raycollab.errors import ConfigError, ModelError
from raycollab.models import MLP, Module, Pretrained, ResNet
from raycollab.params import Exchange, FlatModel
from raycollab.recipe import from_plain, to_plain

SMALL = ResNet(3, depth=8, width=2)


@pytest.fixture
def path(tmp_path):
    """Weights of a small net, as other programs write them: without counters."""
    torch.manual_seed(7)
    state = {name: t for name, t in SMALL.build().state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "small.safetensors")
    return str(tmp_path / "small.safetensors")


def state_of(model, seed=0):
    torch.manual_seed(seed)
    return model.build().state_dict()


def test_weights_come_from_the_file_whatever_the_seed(path):
    first, again = state_of(Pretrained(SMALL, path), 0), state_of(Pretrained(SMALL, path), 1)
    expected = state_of(SMALL, 7)
    assert all(torch.equal(first[name], expected[name]) for name in expected)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_fresh_parts_keep_their_initial_values_and_may_have_another_shape(path):
    loaded, initial = state_of(Pretrained(ResNet(5, depth=8, width=2), path, fresh=("linear.*",))), state_of(SMALL, 7)
    assert loaded["linear.weight"].shape == (5, 8)
    assert torch.equal(loaded["conv1.weight"], initial["conv1.weight"])
    fresh = state_of(Pretrained(SMALL, path, fresh=("linear.*",)), 0)
    assert torch.equal(fresh["linear.weight"], state_of(SMALL, 0)["linear.weight"])


def test_names_stay_those_of_the_net(path):
    model = Pretrained(SMALL, path)
    assert FlatModel(model.build(), Exchange()).spec == FlatModel(SMALL.build(), Exchange()).spec
    assert model.num_outputs == 3
    assert from_plain(to_plain(model)) == model


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(2, 2), nn.Linear(2, 2)
        self.other.weight = self.one.weight


def test_tied_weights_stand_in_a_file_once(tmp_path):
    weights = {"one.weight": torch.ones(2, 2), "one.bias": torch.zeros(2), "other.bias": torch.zeros(2)}
    save_file(weights, tmp_path / "tied.safetensors")
    module = Pretrained(Module(Tied), str(tmp_path / "tied.safetensors")).build()
    assert torch.equal(module.other.weight, torch.ones(2, 2))
    save_file({name: t for name, t in weights.items() if "weight" not in name}, tmp_path / "tied.safetensors")
    with pytest.raises(ModelError, match=r"missing: one.weight, other.weight"):
        Pretrained(Module(Tied), str(tmp_path / "tied.safetensors")).build()


def test_a_relative_path_is_looked_for_under_the_data(path, monkeypatch):
    monkeypatch.setenv("RAYCOLLAB_DATA", path.rpartition("/")[0])
    monkeypatch.chdir("/")
    Pretrained(SMALL, "small.safetensors").build()
    with pytest.raises(
        ModelError, match=r"no file there; tried: /none.safetensors, .*/none.safetensors. RAYCOLLAB_DATA is '.*put"
    ):
        Pretrained(SMALL, "none.safetensors").build()


@pytest.mark.parametrize(
    ("net", "fresh", "message"),
    [
        (MLP(4, 3, ()), (), r"missing: 1.weight, 1.bias; unexpected: bn1.*and \d+ more; take the net that they were"),
        (
            ResNet(5, depth=8, width=2),
            (),
            r"other shapes: linear.bias of \[3\] for \[5\], linear.weight of \[3, 8\] for",
        ),
        (ResNet(3, depth=14, width=2), (), r"missing: layer1.1.conv1.weight, .* more; take the net"),
        (SMALL, ("head.*",), r"Pretrained.fresh: 'head.\*' matches nothing of the net; it has: conv1.weight, bn1"),
    ],
    ids=["architecture", "classes", "depth", "pattern"],
)
def test_what_does_not_fit_is_named(path, net, fresh, message):
    with pytest.raises(ModelError, match=message):
        Pretrained(net, path, fresh).build()


def test_a_damaged_file(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    with pytest.raises(ModelError, match=r"cut.safetensors: cannot be read as safetensors: .*; copy the file again"):
        Pretrained(SMALL, str(tmp_path / "cut.safetensors")).build()


def test_a_pickle_is_refused_unread():
    with pytest.raises(
        ConfigError, match=r"Pretrained.path='resnet.pth': must name a .safetensors file; a pickle is not"
    ):
        Pretrained(SMALL, "resnet.pth")
