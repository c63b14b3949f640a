"""Checkpointed, Compiled and Cast: the net's names, and its numbers to a stated tolerance."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

import raycollab as rc
from raycollab.errors import ConfigError, ModelError
from raycollab.models import CNN, GPT, MLP, Cast, Checkpointed, Compiled, Frozen

NET = GPT(11, num_layers=2, num_heads=2, width=8, context=6, dropout=0.3)
PLAIN = MLP(4, 3)


def losses(recipe, steps=3):
    """Losses of SGD steps on the same tokens, with the same seeds."""
    torch.manual_seed(0)
    module, tokens = recipe.build(), torch.randint(0, 11, (4, 7))
    optimizer, found = torch.optim.SGD(module.parameters(), 0.5), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(tokens[:, :-1]).float().flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("recipe", [Checkpointed(NET), Checkpointed(NET, ("transformer.h.1",))])
def test_checkpointed_losses_are_the_nets_own(recipe):
    """The same operations twice, with the same dropout: the same bits."""
    assert losses(recipe) == losses(NET)


def test_checkpointed_keeps_less():
    def kept(recipe):
        total, module = 0, recipe.build()

        def count(tensor):
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            module(torch.zeros(2, 6, dtype=torch.int64))
        return total

    assert kept(Checkpointed(NET)) < kept(NET) / 2


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_losses(backend):
    """Traced and run as before; dropout is drawn in the same order."""
    assert losses(Compiled(NET, backend=backend)) == pytest.approx(losses(NET), abs=1e-5)


def test_bfloat16_losses():
    """8 bits of mantissa: within a fiftieth of losses of about 2.4."""
    still = GPT(11, num_layers=2, num_heads=2, width=8, context=6)
    assert losses(Cast(still)) == pytest.approx(losses(still), rel=0.02)
    assert {p.dtype for p in Cast(still).build().parameters()} == {torch.bfloat16}
    assert Cast(PLAIN).build()(torch.zeros(2, 4)).dtype == torch.bfloat16


@pytest.mark.parametrize("recipe", [Checkpointed(NET), Compiled(NET, backend="eager"), Cast(NET)])
def test_names_stay(recipe):
    assert list(recipe.build().state_dict()) == list(NET.build().state_dict())
    assert recipe.vocab_size == 11


def trained(net, folder):
    """Two rounds of two agents, each of 3 steps with dropout: the result, and the tensors that it saved."""
    tokens = torch.randint(0, 11, (24, 7), generator=torch.Generator().manual_seed(0))
    data = rc.data.Arrays({"tokens": tokens})
    learner = rc.SGD(lr=0.5, steps=3, batch_size=4)
    result = rc.fit(
        [rc.Agent(f"party-{i}", part, learner, val_fraction=0.0) for i, part in enumerate(data.split(rc.IID(2)))],
        rc.Mean("tokens"),
        test=data,
        task=rc.CausalLM(net, 11),
        run=rc.RunConfig(num_rounds=2, dir=str(folder)),
        scaling=rc.ScalingConfig(pool="local"),
    )
    return result, load_file(Path(result.path) / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return trained(NET, tmp_path_factory.mktemp("plain"))


RUNS = [
    (Checkpointed(NET), 0.0, torch.float32),
    (Compiled(NET, backend="eager"), 1e-5, torch.float32),
    pytest.param(Compiled(NET), 1e-5, torch.float32, marks=pytest.mark.long),
    (Cast(NET), 0.02, torch.bfloat16),
    (Checkpointed(Cast(NET)), 0.02, torch.bfloat16),
]


@pytest.mark.parametrize(("net", "tolerance", "dtype"), RUNS, ids=repr)
def test_a_run_ends_with_the_plain_nets_model(net, tolerance, dtype, plain, tmp_path, monkeypatch):
    """The same names and shapes, and values to a tolerance: checkpoints compute the same bits; bfloat16 rounds weights.

    Twelve steps of at most a few hundredths each are rounded to 8 bits of weights of up to 1: within a fiftieth.
    """
    if getattr(net, "backend", "") == "inductor":
        monkeypatch.setattr("torch._inductor.config.fallback_random", True)  # of itself it drops other features
    result, saved = trained(net, tmp_path)
    like, weights = plain
    assert {name: each.shape for name, each in saved.items()} == {name: each.shape for name, each in weights.items()}
    assert {each.dtype for each in saved.values()} == {dtype}
    for name, each in weights.items():
        torch.testing.assert_close(saved[name].float(), each, atol=tolerance, rtol=0)
    assert result.metrics["loss"] == pytest.approx(like.metrics["loss"], rel=tolerance)
    assert rc.load(result.path).task.net == net
    bare = rc.load(result.path, task=rc.CausalLM(NET, 11))
    assert list(bare.module.state_dict()) == list(NET.build().state_dict())
    tokens = torch.arange(6)[None]
    said, meant = rc.load(result.path).module(tokens).float(), bare.module(tokens)
    torch.testing.assert_close(said, meant, atol=max(tolerance, 1e-6), rtol=tolerance)


def test_blocks_without_a_list_are_named():
    with pytest.raises(ModelError, match=r"Sequential has no nn.ModuleList of blocks; name its blocks .* 0, 1, 2, 3"):
        Checkpointed(PLAIN).build()
    assert isinstance(Checkpointed(PLAIN, ("1",)).build(), nn.Module)
    with pytest.raises(ModelError, match=r"Checkpointed.blocks: 'block' matches no submodule; there are: 0, 1"):
        Checkpointed(PLAIN, ("block",)).build()


def test_a_block_with_a_norm_that_learns():
    cnn = CNN(3, size=4, channels=(2,), hidden=3, batch_norm=True)  # "1" is the norm
    with pytest.raises(ModelError, match=r"block '1' holds a BatchNorm that learns"):
        Checkpointed(cnn, ("1",)).build()
    Checkpointed(Frozen(cnn, ("1.*",)), ("1",)).build()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Compiled(NET, mode="fast"), "Compiled.mode='fast': must be one of"),
        (lambda: Compiled(NET, backend=""), "Compiled.backend='': must name a backend"),
        (lambda: Cast(NET, "int8"), "Cast.dtype='int8': must be one of"),
        (lambda: Checkpointed("gpt"), "Checkpointed.net='gpt': must be a recipe"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
