"""The net of several encoders: what runs on which rows, names of a party's part, and what is refused."""

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.errors import ConfigError, ModelError
from raycollab.fusion import Concatenation, FiLM, Gated, LateLogits, TensorProduct
from raycollab.models import (
    CNN,
    MLP,
    Frozen,
    Headed,
    LogMel,
    Module,
    Multimodal,
    Sequential,
    Series,
    Tabular,
    TextCNN,
    TwoTowers,
    ViT,
)
from raycollab.params import Exchange, FlatModel


class Counting(nn.Module):
    """An encoder that remembers how many rows it was given."""

    def __init__(self, features=3):
        super().__init__()
        self.layer = nn.Linear(4, features)
        self.given = []

    def forward(self, values):
        self.given.append(len(values))
        return self.layer(values)


FORM = Multimodal(
    {"sound": Module(Counting), "image": Module(Counting)}, Concatenation(5), 2, widths={"sound": 3, "image": 3}
)


def rows(*names, count=4):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(count, 4, generator=generator) for name in names}


def test_an_encoder_runs_on_the_rows_that_have_its_modality():
    net = FORM.build()
    values = rows("image", "sound")
    there = {"sound": torch.tensor([True, False, False, True]), "image": torch.ones(4, dtype=torch.bool)}
    features = net.encode(values, there)
    assert net.sound.given == [2]
    assert net.image.given == [4]
    assert torch.equal(features["sound"][0], net.sound.layer(values["sound"][:1])[0])
    assert torch.equal(features["sound"][1:3], torch.zeros(2, 3))


def test_an_absent_modality_costs_nothing():
    """Neither one that is not given nor one that no row has."""
    net = FORM.build()
    values = rows("image", "sound")
    alone = net({"image": values["image"]})
    nobody = net(values, {"sound": torch.zeros(4, dtype=torch.bool)})
    assert net.sound.given == []
    assert torch.equal(alone, nobody)


def test_nothing_of_an_absent_row_is_learned():
    net = FORM.build()
    values = rows("image", "sound")
    values["sound"][1:] = float("nan")
    net(values, {"sound": torch.tensor([True, False, False, False])}).sum().backward()
    assert all(bool(each.grad.isfinite().all()) for each in net.parameters())
    assert bool((net.sound.layer.weight.grad != 0).any())


def test_a_part_has_the_names_of_the_whole():
    form = Multimodal({"image": CNN(6, size=8), "sound": MLP(4, 3)}, Gated(5), 2, alone=True)
    whole = FlatModel(form.build(), Exchange()).spec
    part = FlatModel(form.only("image").build(), Exchange()).spec
    coverage = whole.coverage(part)
    assert not coverage.full
    names = {entry.name for entry in whole.params} - {entry.name for entry in part.params}
    assert {name.split(".")[0] for name in names} == {"sound", "fusion", "alone"}
    assert all("sound" in name for name in names)


def test_encoders_are_those_of_two_towers():
    """So that what contrastive pretraining has learned is taken over by name."""
    image, text = MLP(4, 3), TextCNN(3, vocab_size=5)
    towers = TwoTowers(image, text).build().state_dict()
    ours = Multimodal({"image": image, "text": text}, Gated(5), 2).build().state_dict()
    shared = {name for name in towers if name in ours and towers[name].shape == ours[name].shape}
    assert shared == set(towers) - {"log_scale"}


def test_heads_of_single_modalities():
    net = Multimodal({"a": MLP(4, 3), "b": MLP(4, 3)}, Gated(5), 2, alone=True).build()
    features = net.encode({"a": torch.randn(6, 4)}, {})
    said = net.each_alone(features)
    assert list(said) == ["a"]
    assert torch.equal(said["a"], net.alone["a"](features["a"]))
    assert FORM.build().each_alone({"image": torch.zeros(2, 3)}) == {}


def test_late_fusion_has_no_other_head():
    net = Multimodal({"a": MLP(4, 3), "b": MLP(4, 3)}, LateLogits(), 2).build()
    assert not list(net.head.parameters())
    assert net({"a": torch.randn(6, 4)}).shape == (6, 2)


ENCODERS = {
    "image": (CNN(6, size=8), torch.rand(3, 1, 8, 8)),
    "patches": (ViT(size=8, width=8, num_heads=2, num_layers=1), torch.rand(3, 1, 8, 8)),
    "sound": (Sequential((LogMel(800, mels=8, window_s=0.1, hop_s=0.05), CNN(6, size=8))), torch.rand(3, 320)),
    "series": (Series(6, num_channels=2, widths=(4,)), torch.rand(3, 16, 2)),
    "table": (Tabular(6, numbers=3, mean=(0.0,) * 3, deviation=(1.0,) * 3), torch.rand(3, 3)),
    "words": (TextCNN(6, vocab_size=9), torch.tensor([[1, 2, 3], [4, -1, -1], [5, 6, -1]])),
    "headed": (Headed(MLP(4, 3), Frozen(MLP(3, 6), ("1.*",))), torch.rand(3, 4)),
}


@pytest.mark.parametrize("fusion", [Gated(8), rc.fusion.Bottleneck(8, num_heads=2)])
def test_every_kind_of_encoder_plugs_in(fusion):
    form = Multimodal({name: encoder for name, (encoder, _) in ENCODERS.items()}, fusion, 4)
    values = {name: given for name, (_, given) in ENCODERS.items()}
    assert form.build().eval()(values).shape == (3, 4)


def test_a_text_is_the_same_beside_a_longer_one():
    net = Multimodal({"words": TextCNN(6, vocab_size=9)}, Gated(8), 4).build()
    tokens = ENCODERS["words"][1]
    torch.testing.assert_close(net({"words": tokens})[1:2], net({"words": tokens[1:2, :1]}))


def test_tokens_of_an_encoder_are_fused_as_tokens():
    net = Multimodal({"a": Module(nn.Linear, {"in_features": 4, "out_features": 3})}, Gated(5), 2, widths={"a": 3})
    made = net.build()
    values = torch.randn(2, 7, 4)
    pooled = made.get_submodule("a")(values).mean(1)
    torch.testing.assert_close(made.fusion({"a": pooled}), made.fusion(made.encode({"a": values}, {})))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Multimodal({}, Gated(5), 2), "Multimodal.encoders={}: give at least one"),
        (lambda: Multimodal({"head": MLP(4, 3)}, Gated(5), 2), "modality='head': is no name that a module can have"),
        (lambda: Multimodal({"a.b": MLP(4, 3)}, Gated(5), 2), "modality='a.b': is no name"),
        (lambda: Multimodal({"keys": MLP(4, 3)}, Gated(5), 2), "modality='keys': is no name"),
        (lambda: Multimodal({"a": nn.Linear(4, 3)}, Gated(5), 2), r"encoders\['a'\]=.*: must be a recipe"),
        (lambda: Multimodal({"a": MLP(4, 3)}, MLP(4, 3), 2), "Multimodal.fusion=.*: must be a way of fusing"),
        (lambda: Multimodal({"a": MLP(4, 3)}, Gated(5), 0), "Multimodal.num_outputs=0: must be >= 1"),
        (lambda: Multimodal({"a": MLP(4, 3)}, FiLM("b"), 2), "FiLM.base='b': is a modality that nobody holds.*: a"),
        (lambda: Multimodal({"a": MLP(4, 3)}, TensorProduct(), 2), r"modalities=\['a'\]: must be two"),
        (lambda: Multimodal({"a": Module(Counting)}, Gated(5), 2), r"must say how many features.*widths=\{'a': N\}"),
        (lambda: Multimodal({"a": MLP(4, 3)}, Gated(5), 2, widths={"b": 3}), "widths: modality='b': has no encoder"),
        (lambda: Multimodal({"a": MLP(4, 3)}, Gated(5), 2, held=("b",)), "held: modality='b': has no encoder; .*: a"),
        (lambda: FORM.only("smell"), r"Multimodal.only=\('smell',\): must name some of .*: image, sound"),
        (lambda: FORM.only(), r"Multimodal.only=\(\): must name some of the modalities that there are: image, sound"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_values_that_do_not_fit_are_refused():
    net = FORM.only("image").build()
    with pytest.raises(ModelError, match="no encoder of 'sound' here; there are: image"):
        net(rows("image", "sound"))
    with pytest.raises(ModelError, match="a batch in which no modality is present; it holds: image"):
        net({})
    wrong = Multimodal({"a": Module(Counting, {"features": 4})}, Gated(5), 2, widths={"a": 3}).build()
    with pytest.raises(ModelError, match=r"features of 'a' of shape \[4, 4\], and takes \[b, 3\]"):
        wrong(rows("a"))
    flat = Multimodal({"a": Module(nn.Conv2d, {"in_channels": 1, "out_channels": 3, "kernel_size": 1})}, Gated(5), 2,
                      widths={"a": 3}).build()  # fmt: skip
    with pytest.raises(ModelError, match=r"Conv2d made features of shape \[2, 3, 4, 4\]"):
        flat({"a": torch.zeros(2, 1, 4, 4)})
