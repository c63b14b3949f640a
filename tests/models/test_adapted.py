"""Adapters: what learns, what stays, what travels."""

import os
import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.errors import ConfigError, ModelError
from raycollab.models import (
    IA3,
    MLP,
    Adapted,
    Cast,
    LoRA,
    Module,
    Transformers,
    adapted,
    merged_adapters,
    without_adapters,
)
from raycollab.params import Exchange, FlatModel

from ..contracts.support import Training, digits

peft = pytest.importorskip("peft", reason="the extra `adapters` is not installed")
NET = MLP(4, 3, (5,))  # layers "1" and "3"
ONE = LoRA(("1",), rank=2, also=("3.*",))


def made(adapter, net=NET):
    torch.manual_seed(0)
    return Adapted(net, adapter).build()


def trainable(module):
    return [name for name, p in module.named_parameters() if p.requires_grad]


def test_only_adapters_and_what_is_named_learn():
    assert trainable(made(ONE)) == [
        "1.lora_A.raycollab_adapter.weight",
        "1.lora_B.raycollab_adapter.weight",
        "3.weight",
        "3.bias",
    ]
    frozen = {name for name, p in made(ONE).named_parameters() if not p.requires_grad}
    assert frozen == {"1.base_layer.weight", "1.base_layer.bias"}


@pytest.mark.parametrize(
    "adapter", [ONE, LoRA(("1", "3"), rank=3, dora=True), LoRA(("3",), rank=3, stabilised=True), IA3(("1",))]
)
def test_it_begins_as_the_net_itself(adapter):
    torch.manual_seed(0)
    net, x = NET.build(), torch.randn(6, 4)
    torch.testing.assert_close(made(adapter)(x), net(x), atol=1e-6, rtol=1e-6)


def test_a_layer_by_hand():
    """W + (alpha / rank) B A, and alpha / sqrt(rank) if stabilised."""
    for stabilised, scale in ((False, 6.0 / 4), (True, 6.0 / 2)):
        module = made(LoRA(("1",), rank=4, alpha=6.0, stabilised=stabilised))
        layer = module[1]
        nn.init.normal_(layer.lora_B["raycollab_adapter"].weight)
        weight = (
            layer.base_layer.weight
            + scale * layer.lora_B["raycollab_adapter"].weight @ layer.lora_A["raycollab_adapter"].weight
        )
        x = torch.randn(6, 4)
        torch.testing.assert_close(layer(x), x @ weight.T + layer.base_layer.bias)
        torch.testing.assert_close(merged_adapters(module)[1].weight, weight)


@pytest.mark.parametrize("adapter", [ONE, LoRA(("1", "3"), rank=3, dora=True), IA3(("1", "3"))])
def test_merged_says_the_same_under_the_nets_own_names(adapter):
    module, x = made(adapter).eval(), torch.randn(6, 4)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
        before = module(x)
        merged = merged_adapters(module)
        torch.testing.assert_close(merged(x), before, atol=1e-5, rtol=1e-4)
    assert list(merged.state_dict()) == list(NET.build().state_dict())


def test_two_adapters_in_one_net():
    """Of two layers; merged they say the same, under the net's own names."""
    module, x = made(LoRA(("3",), rank=2), Adapted(NET, LoRA(("1",), rank=3))).eval(), torch.randn(6, 4)
    assert len(trainable(module)) == 4
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
        before = module(x)
        torch.testing.assert_close(merged_adapters(module)(x), before, atol=1e-5, rtol=1e-4)
    assert list(module.state_dict()) == list(NET.build().state_dict())
    with pytest.raises(
        ModelError, match=r"LoRA.targets: '1' matches no layer that can be adapted of the net; there are: 3$"
    ):
        made(LoRA(("1",), rank=2), Adapted(NET, LoRA(("1",), rank=3)))


def test_the_widest_rank_that_fits_is_taken():
    """The smallest layer decides, of a convolution its weight as a matrix: [2, 1 x 3 x 3]."""
    assert len(trainable(made(LoRA(("1", "3"), rank=3)))) == 4
    cnn = rc.models.CNN(3, size=4, channels=(2,), hidden=3)
    assert len(trainable(made(LoRA(("0",), rank=2), cnn))) == 2
    with pytest.raises(ModelError, match=r"LoRA.rank=3: the weight of layer '0' is 2 x 9: take a rank of at most 2"):
        made(LoRA(("0",), rank=3), cnn)


def test_the_scale_of_an_adapter_stands_in_what_is_exchanged():
    flat = FlatModel(made(LoRA(("1",), rank=4, alpha=6.0, stabilised=True, also=("3.*",))), Exchange())
    assert {entry.name.partition(".lora")[0]: entry.scale for entry in flat.spec.params} == {
        "1": 3.0,
        "3.weight": 1.0,
        "3.bias": 1.0,
    }


def test_convolutions_can_be_adapted():
    cnn = rc.models.CNN(3, size=4, channels=(2,), hidden=3)
    assert trainable(made(LoRA(("0",), rank=1), cnn)) == [
        "0.lora_A.raycollab_adapter.weight",
        "0.lora_B.raycollab_adapter.weight",
    ]


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.inner = nn.Linear(2, 2), nn.ModuleDict({"first": nn.Linear(2, 2)})
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x):
        return self.norm(self.inner["first"](self.first(x)))


def test_patterns_are_whole_names_or_their_ends():
    net = Module(Nested)
    assert len(trainable(made(LoRA(("first",), rank=2), net))) == 4
    assert trainable(made(LoRA(("inner.*",), rank=1), net))[0].startswith("inner.first.lora_A")
    assert trainable(made(LoRA(("*",), rank=2, also=("norm.weight",)), net))[-1] == "norm.weight"


def test_a_frozen_norm_keeps_its_statistics():
    module = made(LoRA(("first",), rank=1), Module(Nested)).train()
    module(torch.randn(8, 2) + 3)
    assert torch.equal(module.norm.running_mean, torch.zeros(2))


def test_tied_layers_are_left_alone():
    """GPT's last layer is its embedding: what is added to the one would change the other."""
    gpt = rc.models.GPT(11, num_layers=1, num_heads=2, width=8, context=6)
    layers = {name.partition(".lora_")[0] for name in trainable(made(LoRA(("*",), rank=4), gpt))}
    assert layers == {"transformer.wpe", *(f"transformer.h.0.{name}" for name in INSIDE)}
    with pytest.raises(ModelError, match=r"'lm_head' matches no layer that can be adapted of the net; there are: "):
        made(LoRA(("lm_head",)), gpt)


INSIDE = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


def test_adapters_over_a_base_in_bfloat16_are_float32():
    module = made(LoRA(("1", "3"), rank=3), Cast(NET))
    assert {p.dtype for p in module.parameters() if p.requires_grad} == {torch.float32}
    assert module[1].base_layer.weight.dtype == torch.bfloat16
    module(torch.randn(2, 4)).sum().backward()
    assert module[3].lora_B["raycollab_adapter"].weight.grad.abs().sum() > 0


class Speech(nn.Module):
    """Has an adapter of its own, as wav2vec2 has."""

    def __init__(self):
        super().__init__()
        self.trunk, self.adapter = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.adapter(self.trunk(x))


def test_a_layer_that_is_called_adapter_is_none():
    module = made(LoRA(("trunk",), rank=1, also=("adapter.*",)), Module(Speech))
    flat = FlatModel(module, Exchange.of("adapters"))
    assert flat.private_params == ("adapter.weight", "adapter.bias")


def test_convolutions_of_groups_are_left_alone():
    """Their adapters could not be merged."""
    net = Module(lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3)))
    assert {name.partition(".lora_")[0] for name in trainable(made(LoRA(("*",), rank=2), net))} == {"1"}


def test_the_recipe_is_a_value_and_answers_as_its_net():
    recipe = Adapted(MLP(4, 3, (5,)), ONE)
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert recipe.num_outputs == 3
    assert without_adapters(rc.models.Checkpointed(recipe)) == rc.models.Checkpointed(NET)
    assert without_adapters(rc.models.Headed(recipe, NET)) == rc.models.Headed(NET, NET)
    several = rc.models.Multimodal({"image": recipe}, rc.fusion.Gated(4), 2, widths={"image": 3})
    assert without_adapters(several) == replace(several, encoders={"image": NET})
    with pytest.raises(AttributeError, match="num_labels"):
        recipe.num_labels  # noqa: B018


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (LoRA(("query",)), r"LoRA.targets: 'query' matches no layer that can be adapted of the net; there are: 1, 3"),
        (LoRA(("1",), also=("head.*",)), r"LoRA.also: 'head.\*' matches no parameter of the net; there are: 1.weight"),
        (
            LoRA(("1", "3"), rank=4),
            r"LoRA.rank=4: the weight of layer '3' is 3 x 5: take a rank of at most 3, or leave ",
        ),
        (IA3(("1",), also=("1.bias",)), r"IA3.also: '1.bias' is of a layer that targets=\('1',\) adapts: name it once"),
    ],
)
def test_what_matches_nothing(adapter, message):
    with pytest.raises(ModelError, match=message):
        made(adapter)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoRA(("1",), rank=0), "LoRA.rank=0: must be >= 1"),
        (lambda: LoRA(("1",), alpha=0.0), "LoRA.alpha=0.0: must be > 0"),
        (lambda: LoRA(("1",), dropout=1.0), r"LoRA.dropout=1.0: must be in \[0, 1\)"),
        (lambda: LoRA(()), r"LoRA.targets=\(\): must name layers"),
        (lambda: Adapted(NET, "lora"), "Adapted.adapter='lora': must be an adapter such as"),
        (lambda: Adapted(NET.build(), ONE), r"(?s)Adapted.net=.*: must be a recipe such as"),
        (lambda: Exchange.of("adaptors"), "exchange='adaptors': must be 'all', 'adapters' or an Exchange"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_without_peft(monkeypatch):
    monkeypatch.setattr(adapted, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"need peft, which is not installed: pip install 'raycollab\[adapters\]'"):
        made(ONE)


ADAPTED = rc.ImageClassification(Adapted(MLP(64, 10, (16,)), LoRA(("1",), rank=2, also=("3.*",))), 10)
STEP = rc.SGD(lr=0.1, steps=2)


def rounds(exchange):
    """Two rounds on digits: what agents sent, what the driver's checkpoint and an agent's hold."""
    done = Training(digits(STEP, task=ADAPTED, exchange=exchange, rounds=2)).finish()
    _, state = done.folder.latest_checkpoint()
    return done, state


@pytest.mark.parametrize(("word", "heads"), [("adapters", 0), ("all", 16 * 10 + 10)])
def test_only_adapters_travel_and_the_base_is_nowhere(word, heads):
    """Rank 2 on 64 -> 16: 2 x (64 + 16) numbers, and the head's if it is shared."""
    done, state = rounds(Exchange.of(word))
    size = 2 * (64 + 16) + heads
    assert done.params.numel() == size
    assert {row.num_bytes for report in done.reports for row in report.agents} == {4 * size}
    assert {v.numel() for vectors in state["vectors"].values() for v in vectors.values()} == {size, 0}
    for index in range(8):
        private = (done.remembered(f"agent-{index}") or {}).get("private") or {}
        assert set(private) == (set() if heads else {"3.weight", "3.bias"})


def test_the_base_is_as_it_was_and_the_adapters_are_not():
    done, _ = rounds(Exchange.of("all"))
    first = FlatModel(ADAPTED.model(), Exchange()).module.state_dict()
    last = done.driver.module().state_dict()
    again = Training(digits(STEP, task=ADAPTED, exchange=Exchange(), rounds=2)).driver.module().state_dict()
    assert list(first) == list(last)
    assert torch.equal(last["1.base_layer.weight"], again["1.base_layer.weight"])
    assert not torch.equal(last["1.lora_B.raycollab_adapter.weight"], again["1.lora_B.raycollab_adapter.weight"])


@pytest.mark.skipif(not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set")
def test_a_pretrained_llama():
    """stories260K: 5 layers, 64 wide, 4 key-value heads of 8: rank 4 on q [64, 64] and v [64, 32]."""
    net = Transformers("models/stories260K")
    module = made(LoRA(("q_proj", "v_proj"), rank=4), net)
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == 5 * 4 * ((64 + 64) + (64 + 32))
    tokens = torch.randint(0, 512, (2, 8))
    torch.testing.assert_close(module(tokens).logits, net.build()(tokens).logits)
