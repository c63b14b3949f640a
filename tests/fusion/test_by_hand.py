"""What each way of fusing computes, written out for small numbers or beside the paper's own formula."""

import pytest
import torch
from torch import nn

from raycollab.fusion import (
    Bottleneck,
    Concatenation,
    CrossAttention,
    FiLM,
    Gated,
    LateLogits,
    LowRank,
    MixtureOfExperts,
    TensorProduct,
)
from raycollab.fusion.attention import Block, look_at_others

WIDTHS = {"audio": 3, "image": 5}
AUDIO, IMAGE = torch.randn(4, 3), torch.randn(4, 5)
FEATURES = {"audio": AUDIO, "image": IMAGE}


def test_concatenation_is_one_layer_over_both():
    net = Concatenation(6).build(WIDTHS, 2)
    layer = nn.Linear(8, 6)
    layer.weight.data = torch.cat([net.project["audio"].weight, net.project["image"].weight], 1)
    layer.bias = net.bias
    torch.testing.assert_close(net(FEATURES), layer(torch.cat([AUDIO, IMAGE], 1)).relu())


def test_gates_of_two_are_the_papers_unit():
    """z = sigmoid(W [x; y]) and h = z * tanh(U x) + (1 - z) * tanh(V y), with W made of both gates."""
    net = Gated(6).build(WIDTHS, 2)
    gate = torch.sigmoid(net.gate["audio"](AUDIO) - net.gate["image"](IMAGE))
    expected = gate * net.project["audio"](AUDIO).tanh() + (1 - gate) * net.project["image"](IMAGE).tanh()
    torch.testing.assert_close(net(FEATURES), expected)
    torch.testing.assert_close(net({"image": IMAGE}), net.project["image"](IMAGE).tanh())


def test_low_rank_is_the_sum_of_products():
    net = LowRank(6, rank=2).build(WIDTHS, 2)
    expected = net.bias.expand(4, -1)
    for r in range(2):
        rows = slice(6 * r, 6 * r + 6)
        factors = [f[:, rows] for f in (net.factor["audio"](AUDIO), net.factor["image"](IMAGE))]
        expected = expected + net.rank[r] * factors[0] * factors[1]
    torch.testing.assert_close(net(FEATURES), expected)


def test_tensor_product_is_a_layer_over_the_outer_product():
    net = TensorProduct(6, inner=2).build(WIDTHS, 2)
    one = torch.ones(4, 1)
    x, y = (torch.cat([net.project[name](FEATURES[name]).relu(), one], 1) for name in ("audio", "image"))
    outer = torch.einsum("bi,bj->bij", x, y)  # [b, 3, 3]
    weight = torch.zeros(6, 3, 3)
    weight[:, :2, :2] = net.both.weight.unflatten(1, (2, 2))
    weight[:, :2, 2], weight[:, 2, :2] = net.alone["audio"].weight, net.alone["image"].weight
    weight[:, 2, 2] = net.bias
    torch.testing.assert_close(net(FEATURES), torch.einsum("wij,bij->bw", weight, outer).relu())


def test_film_scales_and_shifts():
    net = FiLM("image", 6).build(WIDTHS, 2)
    scale, shift = net.modulate["audio"](AUDIO).chunk(2, 1)
    expected = ((1 + scale) * net.project["image"](IMAGE) + shift + net.bias).relu()
    torch.testing.assert_close(net(FEATURES), expected)
    torch.testing.assert_close(net({"audio": AUDIO}), (shift + net.bias).relu())


@pytest.mark.parametrize(("weights", "share"), [({}, 0.5), ({"audio": 3.0, "image": 1.0}, 0.75)])
def test_late_logits_are_a_weighted_mean(weights, share):
    net = LateLogits(weights).build(WIDTHS, 2)
    audio, image = net.head["audio"](AUDIO), net.head["image"](IMAGE)
    torch.testing.assert_close(net(FEATURES), share * audio + (1 - share) * image)
    torch.testing.assert_close(net({"audio": AUDIO}), audio)


def test_weights_of_late_logits_are_learned_unless_they_are_given():
    learned = LateLogits().build(WIDTHS, 2)
    learned(FEATURES)[:, 0].sum().backward()
    assert learned.weight["audio"].grad.item() == pytest.approx(-learned.weight["image"].grad.item())
    assert not [name for name, _ in LateLogits({"audio": 1.0, "image": 1.0}).build(WIDTHS, 2).named_parameters()
                if name.startswith("weight")]  # fmt: skip


def test_experts_of_a_token():
    """One token goes to the expert with the highest chance alone, times that chance."""
    net = MixtureOfExperts(4, num_experts=3).build({"image": 5}, 2)
    token = net.project["image"](IMAGE)
    chances = net.router(token).softmax(1)
    made = torch.stack([(token @ net.wide[e]).relu() @ net.narrow[e] for e in range(3)], 1)  # [b, experts, width]
    best = chances.argmax(1)
    rows = torch.arange(4)
    expected = net.norm(token + chances[rows, best].unsqueeze(1) * made[rows, best])
    torch.testing.assert_close(net({"image": IMAGE}), expected)


def test_who_may_look_at_whom():
    """Two tokens of one modality and one of another, which the second row has not."""
    allowed = look_at_others([2, 1], [torch.tensor([True, True]), torch.tensor([True, False])])
    assert allowed[0].tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    assert allowed[1].tolist() == [[False, False, False], [False, False, False], [True, True, False]]


def test_a_token_with_nothing_to_look_at_sees_nothing():
    block = Block(4, 2)
    tokens = torch.randn(2, 3, 4)
    alone = block(tokens, torch.zeros(2, 3, 3, dtype=torch.bool))
    plain = tokens + block.out.bias
    torch.testing.assert_close(alone, plain + block.layer(block.before_layer(plain)))


def test_cross_attention_looks_past_its_own_modality():
    """With one modality all that a token becomes depends on itself; another one beside it changes it."""
    net = CrossAttention(8, num_heads=2).build(WIDTHS, 2)
    tokens = torch.randn(2, 3, 5)
    both = net({"image": tokens, "audio": torch.randn(2, 3)})
    alone = [net({"image": tokens[:, place : place + 1]}) for place in range(3)]
    pooled = net({"image": tokens})
    assert not torch.allclose(pooled, both)
    hidden = torch.stack([net.project["image"](tokens[:, place]) for place in range(3)], 1)
    seen = net.blocks[0](hidden, torch.zeros(1, 3, 3, dtype=torch.bool))
    torch.testing.assert_close(pooled, net.norm(seen.mean(1)))
    torch.testing.assert_close(alone[0], net.norm(seen[:, 0]))


def test_modalities_meet_in_the_bottleneck_alone():
    """With one layer nothing of the audio has come to the image's tokens; with two it has, through the shared ones."""
    for layers, meets in ((1, False), (2, True)):
        torch.manual_seed(0)
        net = Bottleneck(8, num_tokens=2, num_layers=layers, num_heads=2).build(WIDTHS, 2)
        seen = []
        net.layers["image"][-1].register_forward_hook(lambda block, given, made, seen=seen: seen.append(made[:, :1]))
        net(FEATURES)
        net({**FEATURES, "audio": AUDIO + 1})
        assert torch.allclose(*seen) is not meets
