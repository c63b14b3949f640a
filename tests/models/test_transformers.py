"""Models of transformers from a folder: real weights, fresh ones, and what is refused."""

import os
import shutil
import warnings

import pytest
import torch
from huggingface_hub import constants
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from raycollab.errors import ConfigError, ModelError
from raycollab.models import Transformers

real_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)
TINY = GPT2Config(vocab_size=11, n_positions=6, n_embd=8, n_layer=1, n_head=2)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    GPT2LMHeadModel(TINY).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_pretrained_weights(folder):
    net = Transformers(str(folder)).build()
    torch.manual_seed(0)
    expected = GPT2LMHeadModel(TINY).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())
    assert net.config.use_cache is False
    assert logging.is_progress_bar_enabled()


def test_fresh_weights_come_from_torchs_seed(folder):
    recipe = Transformers(str(folder), pretrained=False)
    first, again = (torch.manual_seed(3) and recipe.build().state_dict() for _ in range(2))
    held = Transformers(str(folder)).build().state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["transformer.wte.weight"], held["transformer.wte.weight"])


def test_a_type_to_compute_in(folder):
    assert {p.dtype for p in Transformers(str(folder), dtype="bfloat16").build().parameters()} == {torch.bfloat16}
    fresh = Transformers(str(folder), pretrained=False, dtype="bfloat16").build()
    assert {p.dtype for p in fresh.parameters()} == {torch.bfloat16}


def test_a_relative_folder_is_looked_for_under_the_data(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("RAYCOLLAB_DATA", str(tmp_path))
    monkeypatch.chdir("/")
    assert isinstance(Transformers("tiny").build(), GPT2LMHeadModel)


@real_data
def test_stories260k():
    """Karpathy's Llama of 260,032 parameters goes on with the story it is known for."""
    net = Transformers("models/stories260K").build().eval()
    assert sum(p.numel() for p in net.parameters()) == 260_032
    start = torch.tensor([[1, 403, 407, 261, 378]])  # "<s> Once upon a time"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = net.generate(start, max_new_tokens=12, do_sample=False)
    assert out.shape == (1, 17)
    assert out[0, 5].item() == 432  # ","


def test_a_name_of_the_hub_is_refused_at_once_unless_it_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("RAYCOLLAB_DATA", str(tmp_path))
    with pytest.raises(ModelError) as refused:
        Transformers("nobody/nothing").build()
    text = str(refused.value)
    assert text.startswith("Transformers.name='nobody/nothing': no folder there; tried: ")
    assert f"{tmp_path}/nobody/nothing. RAYCOLLAB_DATA is '{tmp_path}': put the model's folder at one of these" in text
    assert "; this machine's cache of the Hub has no model of that name: fill it, or set download=True where" in text


def test_a_name_of_the_hub_that_is_in_the_cache(folder, monkeypatch, tmp_path):
    """As huggingface_hub keeps a model: the commit of a branch, and the files by commit. No network is needed."""
    kept, commit = tmp_path / "cache" / "models--somebody--tiny", "0123456789abcdef0123456789abcdef01234567"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    shutil.copytree(folder, kept / "snapshots" / commit)
    expected = Transformers(str(folder)).build().state_dict()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for recipe in (Transformers("somebody/tiny"), Transformers("somebody/tiny", download=True)):
        found = recipe.build().state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert recipe.vocab_size == TINY.vocab_size
    with pytest.raises(ModelError, match="cache of the Hub has no model of that name"):
        Transformers("somebody/other").build()


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match=f"{tmp_path} holds no causal-lm model that can be loaded: .*config.json"):
        Transformers(str(tmp_path)).build()


def test_weights_that_are_pickled_are_not_loaded(folder, tmp_path):
    state = GPT2LMHeadModel(TINY).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"holds no causal-lm model that can be loaded: .*safetensors"):
        Transformers(str(folder)).build()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "Transformers.name='': must name a folder, or a model of the Hub"),
        ({"head": "dreams"}, r"Transformers.head='dreams': must be one of \('causal-lm', 'masked-lm', "),
        ({"dtype": "int8"}, "Transformers.dtype='int8': must be one of"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Transformers(**{"name": "x", **settings})
