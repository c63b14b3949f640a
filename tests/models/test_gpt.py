"""GPT agrees with transformers' GPT-2 and starts as nanoGPT does."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

from raycollab.errors import ConfigError, ModelError
from raycollab.models import GPT
from raycollab.params import Exchange, FlatModel

SMALL = {"vocab_size": 11, "num_layers": 2, "num_heads": 2, "width": 8, "context": 6}
MATRICES = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # transformers stores these transposed


def weights_of(theirs: nn.Module) -> dict:
    """The state of a GPT2LMHeadModel with its matrices as nn.Linear has them."""
    return {name: value.t() if name.endswith(MATRICES) else value for name, value in theirs.state_dict().items()}


@pytest.mark.parametrize("tied", [True, False])
def test_agrees_with_transformers(tied):
    """The same weights give the same logits, but for the order of float32 sums."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=11, n_positions=6, n_embd=8, n_layer=2, n_head=2, tie_word_embeddings=tied,
        activation_function="gelu",
    )  # fmt: skip
    theirs = GPT2LMHeadModel(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    ours = GPT(**SMALL, bias=True, tied=tied).build().eval()
    ours.load_state_dict(weights_of(theirs))
    tokens = torch.randint(0, 11, (3, 5))
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=0, atol=1e-5)


def test_number_of_parameters():
    """Embeddings 11*8 + 6*8; a block 2 norms of 8, 8*24 + 8*8 + 8*32 + 32*8; a last norm; an own head if untied."""
    tied = 88 + 48 + 2 * (16 + 768) + 8
    assert sum(p.numel() for p in GPT(**SMALL).build().parameters()) == tied
    assert sum(p.numel() for p in GPT(**SMALL, tied=False).build().parameters()) == tied + 88
    biases = 2 * (16 + 24 + 8 + 32 + 8) + 8
    assert sum(p.numel() for p in GPT(**SMALL, bias=True).build().parameters()) == tied + biases


def test_tied_weights_are_one_in_the_flat_vector():
    model = FlatModel(GPT(**SMALL).build(), Exchange())
    assert model.spec.num_params == 88 + 48 + 2 * (16 + 768) + 8
    assert model.module.lm_head.weight is model.module.transformer.wte.weight


def test_initial_weights_are_nanogpts():
    """Normal of 0.02; those that end a branch of 0.02 / sqrt(2 * layers); norms 1 and biases 0."""
    torch.manual_seed(0)
    net = GPT(65, num_layers=8, bias=True).build()
    deviations = {name: float(value.detach().std()) for name, value in net.named_parameters() if value.ndim == 2}
    for name, deviation in deviations.items():
        assert deviation == pytest.approx(0.02 / (math.sqrt(16) if name.endswith("c_proj.weight") else 1), rel=0.05)
    block = net.transformer.h[0]
    assert all(bool((layer.bias == 0).all()) for layer in (block.attn.c_attn, block.mlp["c_fc"], block.ln_1))
    assert bool((block.ln_2.weight == 1).all())
    tokens = torch.randint(0, 65, (8, 64))
    loss = functional.cross_entropy(net(tokens).flatten(0, 1), torch.randint(0, 65, (512,)))
    assert loss.item() == pytest.approx(math.log(65), abs=0.1)


def test_initial_weights_come_from_torchs_seed():
    first, again = (torch.manual_seed(3) and GPT(**SMALL).build().state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_token_does_not_see_what_comes_after_it():
    net = GPT(**SMALL).build().eval()
    tokens = torch.randint(0, 11, (1, 6))
    changed = tokens.clone()
    changed[0, 4:] = (tokens[0, 4:] + 1) % 11
    before, after = net(tokens), net(changed)
    assert torch.equal(before[0, :4], after[0, :4])
    assert not torch.equal(before[0, 4], after[0, 4])


def test_dropout_is_only_for_training():
    net = GPT(**SMALL, dropout=0.5).build()
    tokens = torch.randint(0, 11, (2, 6))
    assert not torch.equal(net(tokens), net(tokens))
    assert torch.equal(net.eval()(tokens), net(tokens))


def test_too_long_a_text():
    net = GPT(**SMALL).build()
    assert net(torch.zeros(1, 6, dtype=torch.int64)).shape == (1, 6, 11)
    with pytest.raises(ModelError, match=r"GPT\(context=6\) was given 7 tokens in a row: set context=7, or cut the t"):
        net(torch.zeros(1, 7, dtype=torch.int64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 0}, "GPT.vocab_size=0: must be >= 1"),
        ({"num_layers": 0}, "GPT.num_layers=0: must be >= 1"),
        ({"num_heads": 3}, "GPT.width=128: must be a multiple of num_heads=3"),
        ({"context": 0}, "GPT.context=0: must be >= 1"),
        ({"dropout": 1.0}, r"GPT.dropout=1.0: must be in \[0, 1\)"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        GPT(**{"vocab_size": 65, **settings})
