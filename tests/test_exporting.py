"""Trained models in the forms that other programs read, and what is refused."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import raycollab as rc
from raycollab.cli import main
from raycollab.deploy import save_model
from raycollab.errors import ConfigError, ModelError, RunFolderError
from raycollab.models import GPT, IA3, MLP, Adapted, Compiled, Headed, LoRA, Module, Transformers, Width, save_adapters
from raycollab.onnx_export import export_onnx
from raycollab.storage import Storage

needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="the extra `adapters` is not installed")
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the extra `onnx` is not installed",
)
TINY = GPT2Config(vocab_size=11, n_positions=6, n_embd=8, n_layer=1, n_head=2)
HEAD = LoRA(("1",), rank=2, also=("3.*",))
DEEP = MLP(64, 10, (16, 8, 8, 8, 8, 8))  # layers 1, 3 ... 13


def run(tmp_path, net, **settings):
    """Two rounds on digits, in this process."""
    task = rc.ImageClassification(net, 10)
    shards = rc.data.Digits("train").split(rc.IID(num_parts=2))
    agents = [rc.Agent(f"party-{i}", shard, rc.SGD(lr=0.1, steps=3)) for i, shard in enumerate(shards)]
    return rc.fit(
        agents,
        rc.Mean(),
        test=rc.data.Digits("test"),
        task=task,
        run=rc.RunConfig(num_rounds=2, dir=str(tmp_path / "runs")),
        scaling=rc.ScalingConfig(pool="local"),
        **settings,
    ).path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return run(tmp_path_factory.mktemp("plain"), MLP(64, 10, (16,)))


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    pytest.importorskip("peft", reason="the extra `adapters` is not installed")
    return run(tmp_path_factory.mktemp("adapted"), Adapted(DEEP, HEAD))


def images():
    return rc.data.Digits("test").read()["image"][:9]


def test_safetensors_is_loaded_again(plain, tmp_path):
    done = rc.export(plain, str(tmp_path / "out"))
    assert (done.format, done.difference) == ("safetensors", None)
    first, again = rc.load(plain).module, rc.load(done.folder).module
    assert torch.equal(first(images()), again(images()))
    assert "trained by 2 agents in 2 rounds" in (tmp_path / "out" / "README.md").read_text()


def test_a_narrower_net_is_cut_out(plain, tmp_path, capsys):
    """Half of 16 hidden features: the first ones of the whole, by Python and by the command."""
    done = rc.export(plain, str(tmp_path / "out"), holds=Width(0.5))
    assert main(["export", plain, "--out", str(tmp_path / "too"), "--width", "0.5"]) == 0
    assert "safetensors written to" in capsys.readouterr().out
    whole = rc.load(plain).module
    for folder in (done.folder, str(tmp_path / "too")):
        module = rc.load(folder).module
        assert module[1].weight.shape == (8, 64)
        assert torch.equal(module[1].weight, whole[1].weight[:8])
        assert torch.equal(module[3].weight, whole[3].weight[:, :8])
    assert main(["export", plain, "--out", str(tmp_path / "no"), "--width", "1.5"]) == 2
    assert "Width.width=1.5: must be in (0, 1]" in capsys.readouterr().err


def test_merged_needs_no_adapters_any_more(adapted, tmp_path):
    done = rc.export(adapted, str(tmp_path / "out"))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["task"]["init_args"]["net"]["class_path"] == "raycollab.models.MLP"
    again = rc.load(done.folder)
    torch.testing.assert_close(again.module(images()), rc.load(adapted).module(images()), atol=1e-5, rtol=1e-5)


def test_separate_is_what_peft_reads(adapted, tmp_path):
    peft = pytest.importorskip("peft")
    done = rc.export(adapted, str(tmp_path / "out"), merged=False)
    assert done.format == "adapters"
    whole = rc.load(adapted).module
    base = DEEP.build()
    for index in (1, 5, 7, 9, 11, 13):  # the head, 3, is of the adapters' folder
        layer = whole[index].base_layer if index == 1 else whole[index]
        base[index].load_state_dict(layer.state_dict())
    again = peft.PeftModel.from_pretrained(base, done.folder).eval()
    torch.testing.assert_close(again(images()), whole(images()), atol=1e-5, rtol=1e-5)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["r"], config["target_modules"]) == (2, "1")
    assert config["modules_to_save"] == ["base_model.model.3"]  # "3" would be 13, too


@needs_peft
def test_two_adapters_cannot_be_written_alone(tmp_path):
    net = Adapted(Adapted(MLP(4, 3, (5,)), LoRA(("1",), rank=2)), LoRA(("3",), rank=3))
    with pytest.raises(ModelError, match="cannot be written alone: that of 1 is another one than 3's; export them m"):
        save_adapters(net.build(), str(tmp_path), base="")


@needs_peft
@pytest.mark.parametrize(
    ("net", "adapter", "message"),
    [
        (Module(lambda: Bare()), LoRA(("layer",), rank=2, also=("scale",)), "scale belongs to no layer"),
        (
            Module(lambda: Bare()),
            LoRA(("inner.layer",), rank=2, also=("inner.scale",)),
            r"inner\.layer\.lora_A.* is inside",
        ),
        (
            GPT(11, num_layers=1, num_heads=2, width=8, context=6),
            LoRA(("c_attn",), also=("wte.*",)),
            "lm_head.weight is tied",
        ),
    ],
)
def test_what_cannot_be_written_beside_adapters(net, adapter, message, tmp_path):
    with pytest.raises(ModelError, match=f"cannot be written alone: {message}.*export them merged"):
        save_adapters(Adapted(net, adapter).build(), str(tmp_path), base="")


class Bare(nn.Module):
    def __init__(self, depth=1):
        super().__init__()
        self.layer, self.scale = nn.Linear(2, 2), nn.Parameter(torch.ones(2))
        self.inner = Bare(0) if depth else None


@needs_peft
def test_adapters_in_a_part_of_the_net(tmp_path):
    trunk = Adapted(MLP(64, 16, (16,)), LoRA(("1",), rank=2, also=("3.*",)))
    path = run(tmp_path, Headed(trunk, MLP(16, 10, ())))
    again = rc.load(rc.export(path, str(tmp_path / "out")).folder)
    assert again.task.net == Headed(trunk.net, MLP(16, 10, ()))
    with pytest.raises(ModelError, match="they are in a part of the net; export them merged"):
        rc.export(path, str(tmp_path / "separate"), merged=False)
    torch.testing.assert_close(again.module(images()), rc.load(path).module(images()), atol=1e-5, rtol=1e-5)


def test_an_agents_own_head(tmp_path):
    pytest.importorskip("peft", reason="the extra `adapters` is not installed")
    path = run(tmp_path, Adapted(MLP(64, 10, (16,)), HEAD), exchange="adapters")
    common = rc.load(rc.export(path, str(tmp_path / "common")).folder).module
    own = rc.load(rc.export(path, str(tmp_path / "own"), agent="party-1").folder).module
    assert torch.equal(common[1].weight, own[1].weight)
    assert not torch.equal(common[3].weight, own[3].weight)


def language_run(tmp_path, net):
    """A causal language model of transformers, saved as a run saves it."""
    task = rc.CausalLM(net, 11)
    module = task.model()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    save_model(
        Storage(str(tmp_path / "run" / "model")), task, module, card="# card\n\n## Use\n\nrc.load(...)\n", facts={}
    )
    return str(tmp_path / "run"), module.eval()


@pytest.fixture
def tiny(tmp_path):
    torch.manual_seed(0)
    GPT2LMHeadModel(TINY).save_pretrained(tmp_path / "tiny")
    return Transformers(str(tmp_path / "tiny"))


TOKENS = torch.tensor([[1, 2, 3, 4]])


def test_transformers_reloads_with_from_pretrained(tiny, tmp_path):
    path, module = language_run(tmp_path, tiny)
    done = rc.export(path, str(tmp_path / "out"))
    assert done.format == "transformers"
    again = AutoModelForCausalLM.from_pretrained(done.folder)
    assert torch.equal(again(TOKENS).logits, module(TOKENS).logits)
    assert again.config.use_cache
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("# card\n")
    assert "GPT2LMHeadModel.from_pretrained(FOLDER)" in card
    assert "rc.load" not in card


@needs_peft
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # which peft asks transformers for
@pytest.mark.parametrize("adapter", [LoRA(("c_attn",), rank=2), LoRA(("c_attn",), dora=True), IA3(("c_attn",))])
def test_adapters_of_transformers(tiny, tmp_path, adapter):
    import peft

    path, module = language_run(tmp_path, Adapted(tiny, adapter))
    merged = AutoModelForCausalLM.from_pretrained(rc.export(path, str(tmp_path / "merged")).folder)
    torch.testing.assert_close(merged(TOKENS).logits, module(TOKENS).logits, atol=1e-5, rtol=1e-4)
    separate = rc.export(path, str(tmp_path / "separate"), merged=False).folder
    config = json.loads((tmp_path / "separate" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tiny.name
    base = AutoModelForCausalLM.from_pretrained(config["base_model_name_or_path"])
    again = peft.PeftModel.from_pretrained(base, separate).eval()
    torch.testing.assert_close(again(TOKENS).logits, module(TOKENS).logits, atol=1e-5, rtol=1e-4)


@needs_onnx
def test_onnx_says_the_same(plain, tmp_path, capsys):
    import onnxruntime

    assert main(["export", plain, "--out", str(tmp_path / "out"), "--format", "onnx"]) == 0
    assert "its largest difference from torch is" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    said = session.run(None, {"input": images().numpy()})[0]  # 9 rows: traced with 2
    torch.testing.assert_close(torch.from_numpy(said), rc.load(plain).module(images()), atol=1e-5, rtol=1e-5)


@needs_onnx
@needs_peft
def test_onnx_of_merged_adapters(adapted, tmp_path):
    assert rc.export(adapted, str(tmp_path / "out"), format="onnx").difference < 1e-5


BERT = {
    "model_type": "bert", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 8, "max_position_embeddings": 16,
}  # fmt: skip


@needs_onnx
def test_onnx_of_texts_of_any_length(tmp_path):
    """Traced with 2 texts of 7 tokens, run on 5 of 12 and 1 of 3."""
    import onnxruntime

    net = Transformers(head="sequence-classification", pretrained=False, num_labels=2, config=BERT)
    task = rc.TextClassification(net, 2)
    module = task.model().eval()
    text = torch.randint(1, 11, (4, 7))
    text[1:, 5:] = -1
    assert export_onnx(module, task, {"text": text}, Storage(str(tmp_path))) < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for rows, length in ((5, 12), (1, 3)):
        tokens = torch.randint(1, 11, (rows, length))
        mask = torch.ones_like(tokens)
        mask[0, 2:] = 0
        said = session.run(None, {"input": tokens.numpy(), "attention_mask": mask.numpy()})[0]
        expected = module(tokens, attention_mask=mask).logits
        torch.testing.assert_close(torch.from_numpy(said), expected, atol=1e-5, rtol=1e-4)


@needs_onnx
@pytest.mark.parametrize("net", [MLP(4, 3), Compiled(MLP(4, 3), backend="eager")])
def test_onnx_of_a_compiled_net(net, tmp_path):
    task = rc.Classification(net, 3)
    assert export_onnx(net.build().eval(), task, {"features": torch.randn(4, 4)}, Storage(str(tmp_path))) < 1e-5


class OfLists(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, rows):
        return self.layer(torch.stack(rows))


@dataclass(frozen=True)
class Lists(rc.tasks.Classification):
    def predict(self, model, batch):
        return {"prediction": model(list(batch["features"])).argmax(1)}


@needs_onnx
def test_onnx_of_inputs_that_are_no_tensors(tmp_path):
    with pytest.raises(ModelError, match=r"OfLists is given a list as input, and only tensors .* --format safetensors"):
        export_onnx(OfLists(), Lists(Module(OfLists), 2), {"features": torch.randn(4, 2)}, Storage(str(tmp_path)))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, rows):
        return self.layer(rows) if float(rows.sum()) > 0 else rows


@needs_onnx
def test_onnx_of_what_cannot_be_traced(tmp_path):
    task = rc.Classification(Module(Branching), 2)
    with pytest.raises(ModelError, match=r"Branching cannot be written as ONNX: .*; use --format safetensors"):
        export_onnx(Branching(), task, {"features": torch.ones(4, 2)}, Storage(str(tmp_path)))


def test_without_onnx(monkeypatch, tmp_path):
    monkeypatch.setattr("raycollab.onnx_export.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"ONNX needs onnx, onnxscript, onnxruntime, not installed: pip install 'r"):
        export_onnx(nn.Identity(), rc.Classification(MLP(2, 2), 2), {}, Storage(str(tmp_path)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "pickle"}, r"export: format='pickle': must be one of \('transformers', 'safetensors', 'onnx'\)"),
        (
            {"format": "transformers"},
            "format='transformers': Sequential is no model of transformers; use 'safetensors'",
        ),
        ({"merged": False}, "export: merged=False: must be true: the model has no adapters"),
    ],
)
def test_refuses(plain, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        rc.export(plain, str(tmp_path / "out"), **settings)
    assert not (tmp_path / "out").exists()


def test_refuses_a_folder_that_holds_something(plain, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="holds something already; name a new folder"):
        rc.export(plain, str(tmp_path))


def test_a_run_that_has_not_ended(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "experiment.yaml").write_text("run: {}")
    with pytest.raises(RunFolderError, match=r"holds no model: .*has the run ended\?"):
        rc.export(str(tmp_path / "run"), str(tmp_path / "out"))


def test_a_task_without_a_plain_recipe(tmp_path):
    path = run(tmp_path, Module(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))))
    with pytest.raises(ConfigError, match="its task has no plain form, so the file cannot name it; pass task="):
        rc.export(path, str(tmp_path / "out"))


def test_the_tokenizer_goes_along(tiny, tmp_path):
    """The one that the experiment names is written beside the model."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "film": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(tmp_path / "words")
    path, _ = language_run(tmp_path, tiny)
    named = {"class_path": "raycollab.data.PretrainedTokenizer", "init_args": {"path": str(tmp_path / "words")}}
    Path(path, "experiment.yaml").write_text(json.dumps({"test": {"tokenizer": named}}))
    again = AutoTokenizer.from_pretrained(rc.export(path, str(tmp_path / "out")).folder)
    assert again.vocab == {"[UNK]": 0, "film": 1}
    Path(tmp_path, "words").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"the run's tokenizer '.*words' is not on this machine: "):
        rc.export(path, str(tmp_path / "again"))
