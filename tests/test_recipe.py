import dataclasses
import json

import numpy as np
import pytest
import torch

import raycollab
from raycollab import (
    aggregation,
    codecs,
    config,
    data,
    learners,
    meta,
    metrics,
    models,
    modes,
    params,
    schedules,
    selection,
    tasks,
    transforms,
)
from raycollab.errors import ConfigError
from raycollab.models import MLP, Module
from raycollab.population import Parties, Split
from raycollab.recipe import class_path, from_plain, only_in_python, packages, plain_fields, to_plain

from .contracts.rows import TABLES, instances

DIGITS = data.Digits("train")
AGENT = raycollab.Agent("a", DIGITS, learners.SGD())
BERT = {"pretrained": False, "config": {"model_type": "bert", "hidden_size": 16, "hidden_dropout_prob": 0.0}}
MODALITIES = models.Multimodal({"image": MLP(4, 3), "sound": MLP(2, 3)}, raycollab.fusion.Gated(6), 2, alone=True)
SETTINGS = [
    config.RunConfig(name="x", target="accuracy >= 0.9", patience=3),
    config.ScalingConfig(agents_per_host=2),
    config.FailureConfig(min_agents=0.5),
    config.CheckpointConfig(every=2),
    params.Exchange(exclude=("head.*",)),
    models.CNN(3, channels=(4, 8)),
    models.MLP(4, 2, hidden=(3,)),
    models.WithConsensus(MLP(4, 2), 5, 2),
    models.GPT(65, num_layers=2),
    *(models.ViT(8, patch=2), models.MaskedAutoencoder(models.ViT(8)), models.TwoTowers(MLP(4, 2), MLP(4, 2), 0.1)),
    models.ResNet(10, depth=32),
    models.Pretrained(MLP(4, 2), "weights.safetensors", fresh=("5.*",)),
    models.Frozen(MLP(4, 2), ("*",), but=("3.*",)),
    models.Headed(MLP(4, 3), MLP(3, 2)),
    models.Sequential((models.LogMel(8000, mels=32), models.CNN(3))),
    models.LogMel(8000),
    models.Series(2, 3, (8, 8), kind="gru"),
    models.Tabular(2, 2, (3, 4), (0.0, 1.0), (1.0, 2.0)),
    models.Adapted(MLP(4, 2), models.LoRA(("1",), rank=2)),
    *(models.LoRA(("1",), dora=True), models.IA3(("1",), also=("3.*",))),
    *(models.Cast(MLP(4, 2)), models.Checkpointed(MLP(4, 2)), models.Compiled(MLP(4, 2), backend="eager")),
    models.Transformers("models/small", pretrained=False),
    *(models.Padded(MLP(4, 2), 3), models.Without(MLP(4, 2, (3, 3)), ("3",))),
    *(models.Narrowed(MLP(4, 2, (8,)), 0.5), models.Width(0.5, scaled=False), models.UpTo("3")),
    models.EarlyExits(MLP(4, 2, (3, 3)), after=("2",)),
    tasks.EarlyExiting(tasks.Classification(models.EarlyExits(MLP(4, 2, (3, 3)), after=("2",)), 2), threshold=0.8),
    tasks.OrderedDropout(tasks.Classification(MLP(4, 2, (8,)), 2), widths=(0.5, 1.0)),
    raycollab.Growth((MLP(4, 2, (3,)),), raycollab.growth.Stalled(3, least=0.1)),
    tasks.CausalLM(models.GPT(65), 65, unit="character"),
    tasks.TextClassification(models.Transformers(head="sequence-classification", num_labels=2, **BERT), 2),
    tasks.TokenClassification(models.Transformers(head="token-classification", **BERT), 3, ignore=-1),
    tasks.MaskedLM(models.Transformers(head="masked-lm", **BERT), data.Bytes(), share=0.2),
    tasks.SimCLR(
        models.Headed(MLP(4, 2), MLP(2, 2)), augment=(tasks.ResizedCrop(), tasks.GaussianBlur()), candidates=8
    ),
    tasks.MaskedAutoencoding(models.MaskedAutoencoder(models.ViT(8, patch=4)), share=0.5),
    tasks.Contrastive(models.TwoTowers(MLP(4, 2), MLP(4, 2)), candidates=8),
    *(tasks.ResizedCrop((0.1, 0.5)), tasks.ColorJitter(0.1), tasks.GaussianBlur(sigma=(1.0, 1.0))),
    tasks.RandomAffine(scale=(0.9, 1.1)),
    tasks.SequenceToSequence(models.Transformers("x", head="seq2seq-lm"), start=1, max_tokens=8),
    data.Characters("abc", unknown="a"),
    data.Bytes(),
    data.HashedWords(512),
    data.PretrainedTokenizer("models/small"),
    data.Text("book.txt", data.Characters("abc"), context=8, span=(0.0, 0.9)),
    data.ParquetText("book.parquet", data.Bytes(), context=8, by="speaker", values=("a", "b")),
    learners.Distill(learners.SGD(), learners.SGD(), DIGITS),
    learners.Student(learners.SGD(), DIGITS),
    models.TextCNN(2, vocab_size=9),
    MODALITIES,
    tasks.Multimodal(MODALITIES, 2, auxiliary=0.5, modality_dropout=0.2),
    models.Module("torch.nn:Linear", {"in_features": 2, "out_features": 1}),
    tasks.Classification(MLP(4, 2), 2, label_smoothing=0.1),
    tasks.ImageClassification(models.CNN(3), 3, bad_rows="drop", augment=(tasks.HorizontalFlip(),)),
    *(tasks.RandomCrop(2, mode="reflect"), tasks.HorizontalFlip(), tasks.Cutout(4)),
    tasks.MultiLabel(MLP(4, 3), 3, threshold=0.4),
    tasks.ObjectDetection(models.Torchvision("ssdlite320_mobilenet_v3_large", 4), 3),
    models.Torchvision("resnet18", 10),
    tasks.Regression(MLP(4, 2), mean=(0.0, 1.0), deviation=(1.0, 2.0)),
    tasks.AudioClassification(models.CNN(3), 3),
    *(tasks.SeriesClassification(models.Series(2, 3), 2), tasks.SeriesRegression(models.Series(1, 3), error="mae")),
    tasks.TabularClassification(models.Tabular(2, 2, (3,)), 2, inputs=("numbers", "city")),
    tasks.TabularRegression(models.Tabular(1, 2), error="huber"),
    *(rule for table in TABLES.values() for rule in instances(table)),
    models.WithContext(MLP(4, 2)),
    models.WithRates(MLP(4, 2), per="tensor"),
    *(meta.PartyTask(), meta.FewShot(ways=3), meta.Sinusoids(), meta.FromFunction("torch:zeros")),
    *(meta.CAVIA(lr=0.1), meta.MetaSGD(), meta.ProtoNet(tasks=meta.FewShot())),
    meta.MetaTask(tasks.Classification(MLP(4, 2), 2), meta.MAML(lr=0.1, tasks=meta.FewShot(ways=2))),
    raycollab.IFCA(learners.SGD(), 3),
    raycollab.LoRAProduct(raycollab.Mean("uniform"), budget=12),
    learners.Optimizer("AdamW", {"lr": 1e-3, "betas": (0.9, 0.99)}),
    schedules.Constant(),
    schedules.Cosine(10, warmup=2),
    schedules.Decay(0.5, every=3),
    selection.Candidate("a", 3, 0.5),
    modes.Exponential(2.0),
    modes.LogNormal(2.0, sigma=0.5),
    modes.PerAgent({"a": 3.0}, default=0.5),
    raycollab.Attack("ipm", num_agents=1),
    DIGITS,
    data.Parquet("x.parquet", columns=("a",), shapes={"a": (1, 2)}, label=None),
    data.Arrow("x.arrow", where={"split": ("train",)}, bad_rows="skip"),
    data.CSV("x.csv", categories={"label": ("cat", "dog")}, delimiter=";"),
    data.JSONLines("x.jsonl", text={"text": 8}, tokenizer=data.Bytes()),
    data.HuggingFace("folder", part="train", images={"image": "rgb"}, resize={"image": (8, 8)}),
    data.ImageFolder("folder", ("cat", "dog"), size=(8, 8)),
    data.TorchDataset("torch.utils.data.TensorDataset", names=("x",)),
    data.Torchvision("MNIST", "folder", {"train": False}),
    data.Streamed(data.Parquet("x.parquet", audio={"wav": (8000, 1.0)}), buffer=8),
    data.Distorted(DIGITS, (data.Noise(0.1), data.Blur(1.0), data.Rotate(90.0), data.Rescale(2.0), data.Shift(2))),
    *(data.Noise(0.1), data.Blur(1.0), data.Rotate(90.0), data.Rescale(2.0), data.Shift(2)),
    data.Part(DIGITS, data.IID(3), 1),
    data.Holdout(DIGITS, "test"),
    data.IID(4, seed=1),
    data.Dirichlet(0.3, 4),
    data.DirichletSizes(0.3, 4),
    data.LabelMix(0.3, 4),
    data.LabelShards(4, 2),
    data.ByColumn("site", (0, 1)),
    data.Explicit(((0, 2), (1,))),
    data.Changing((DIGITS, data.Holdout(DIGITS, "test")), (3,)),
    data.Growing(data.Parquet("x.parquet"), stamp="day"),
    data.Missing(DIGITS, {"image": 0.5}),
    data.Only(DIGITS, (0, 1)),
    data.Paired(DIGITS, data.Parquet("sounds.parquet")),
    data.Distorted(DIGITS, (data.PrincipalComponents(0.25, DIGITS), data.NoiseAtSNR(-5.0))),
    *(data.PrincipalComponents(0.25, DIGITS), data.NoiseAtSNR(-5.0)),
    data.Relabelled(DIGITS, (*range(1, 10), 0)),
    raycollab.Watch("loss", raycollab.adapt.KolmogorovSmirnov(), (raycollab.adapt.Branch(),)),
    raycollab.Key("north.key", "0" * 64),
    raycollab.PrivacyBudget(2.0),
    AGENT,
    Parties((AGENT,)),
    Split(DIGITS, data.IID(3), (learners.SGD(), learners.SGD(lr=1.0))),
    Split(DIGITS, data.IID(3), (learners.SGD(),), quality="drop", skew=((), (data.Blur(1.0),))),
]


@dataclasses.dataclass(frozen=True)
class Foreign:
    """Settings of somebody else's package."""

    value: float = 1.0


def make_layer(width: int) -> torch.nn.Module:
    return torch.nn.Linear(width, 1)


@pytest.mark.parametrize("value", SETTINGS, ids=lambda value: type(value).__name__)
def test_round_trip(value):
    plain = to_plain(value)
    again = from_plain(json.loads(json.dumps(plain)), trusted=("torch",))
    assert again == value
    assert type(again) is type(value)


def test_every_exported_settings_class_makes_the_round_trip():
    """A new rule that nobody added to the list above fails here."""
    need_ray = ("fit", "run_experiment", "Search", "Sweep", "resume_search", "search")
    exported = {name: getattr(raycollab, name) for name in raycollab.__all__ if name not in need_ray}
    modules = (data, models, tasks, learners, aggregation, transforms, codecs, modes, selection)
    exported |= {name: getattr(module, name) for module in modules for name in module.__all__}
    results = (
        "Adapter",
        "Chain",
        "Experiment",
        "Exported",
        "Identity",
        "Opened",
        "Table",
        "Result",
        "TrainedModel",
        "Assignment",
        "LocalLearner",
        "MetaLearner",
        "Node",
        "Round",
        "Update",
        "Problem",
        "Rows",
        "RowRule",
        "TextSource",
        "Tokenizer",
    )
    frozen = {
        kind
        for name, kind in exported.items()
        if dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen and name not in results
    }
    assert frozen - {type(value) for value in SETTINGS} == set()


def test_the_public_path_is_the_shortest():
    assert class_path(tasks.Classification) == "raycollab.tasks.Classification"
    assert class_path(config.RunConfig) == "raycollab.config.RunConfig"
    assert class_path(metrics.Average) == "raycollab.metrics.Average"
    assert class_path(Foreign).endswith("test_recipe.Foreign")


def test_fields_of_one_value():
    assert plain_fields(config.CheckpointConfig(keep=3)) == {
        "every": 1,
        "keep": 3,
        "every_s": None,
        "ledger": None,
        "updates": False,
    }


def test_a_function_is_named_and_a_closure_is_not():
    assert to_plain(Module(make_layer, {"width": 2}))["init_args"]["target"].endswith("test_recipe:make_layer")
    for unnamed in (lambda: None, torch.zeros(1), object()):
        with pytest.raises(ConfigError, match="has no plain form that a run folder could hold"):
            to_plain({"x": unnamed})


def test_arrays_in_memory_leave_a_mark():
    source = data.Arrays({"x": torch.zeros(2, 1), "label": torch.zeros(2, dtype=torch.int64)})
    agent = dataclasses.replace(AGENT, shard=source)
    with pytest.raises(ConfigError, match="Arrays has no plain form"):
        to_plain(agent)
    plain = to_plain([AGENT, agent], strict=False)
    assert only_in_python(plain) == "Arrays"
    other = data.Arrays({"x": torch.ones(2, 1), "label": torch.zeros(2, dtype=torch.int64)})
    same = data.Arrays({"label": torch.zeros(2, dtype=torch.int64), "x": torch.zeros(2, 1)})
    marks = [to_plain(each, strict=False) for each in (source, other, same)]
    assert marks[0] == marks[2] != marks[1]  # by which a resumed run tells that its data is another
    assert only_in_python(to_plain(AGENT)) is None


def test_an_untrusted_class_is_refused_and_a_trusted_one_made():
    plain = to_plain(Foreign(2.0))
    with pytest.raises(ConfigError, match=r"if you trust it, name its package"):
        from_plain(plain)
    stored = {"class_path": "dataclasses.Field", "init_args": {}}
    with pytest.raises(ConfigError, match=r"trusted=\('dataclasses',\)"):
        from_plain([{"deep": stored}])
    with pytest.raises(ConfigError, match=r"dataclasses\.Field is not a class of settings"):
        from_plain(stored, trusted=("dataclasses",))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("raycollab.data.Nothing", "cannot be imported"),
        ("raycollab.nowhere.Parquet", "cannot be imported"),
        ("raycollab.storage.Storage", "is not a class of settings"),
        ("raycollab.recipe.from_plain", "is not a class of settings"),
        ("raycollab.storage.os.system", "cannot be imported"),
        ("Parquet", "if you trust it"),
    ],
)
def test_a_path_that_is_no_settings_class(path, message):
    with pytest.raises(ConfigError, match=message):
        from_plain({"class_path": path, "init_args": {}})


@pytest.mark.parametrize(
    "target", ["os:system", "subprocess:run", "raycollab.deploy:load_model", "raycollab.storage:os.system"]
)
def test_a_stored_model_cannot_name_code_that_is_not_trusted(target):
    """Building `Module(target)` calls what it names, so a recipe from elsewhere must not choose it freely."""
    stored = to_plain(tasks.Classification(Module(target, {"command": "true"}), 2))
    with pytest.raises(ConfigError, match="is not imported unasked; if you trust it"):
        from_plain(stored)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"lr": -1.0}, "SGD.lr=-1.0: must be > 0"), ({"speed": 1.0}, "unexpected keyword argument 'speed'")],
)
def test_arguments_are_checked_again(arguments, message):
    with pytest.raises(ConfigError, match=message):
        from_plain({"class_path": "raycollab.learners.SGD", "init_args": arguments})


def test_settings_of_a_class_that_has_no_name_to_import_are_told_apart():
    @dataclasses.dataclass(frozen=True)
    class Local:
        rate: float

    assert to_plain(Local(0.1), strict=False) == to_plain(Local(0.1), strict=False)
    assert to_plain(Local(0.1), strict=False) != to_plain(Local(0.2), strict=False)


@pytest.mark.parametrize("value", [np.float64(0.5), np.float32(0.5), np.int64(3), torch.tensor(0.5)], ids=repr)
def test_numbers_of_numpy_and_torch_become_plain_ones(value):
    """YAML knows neither, and `np.logspace(...)[1]` is a common way to write a learning rate."""
    plain = to_plain({"lr": value})["lr"]
    assert type(plain) in (int, float)
    assert plain == value


def test_plain_values_stay_what_they_are():
    plain = {"a": [1, 2.5, None, True, "x"], "b": {"c": ()}}
    assert to_plain(plain) == {"a": [1, 2.5, None, True, "x"], "b": {"c": []}}
    assert from_plain(plain) == {"a": (1, 2.5, None, True, "x"), "b": {"c": ()}}


def test_the_packages_of_a_value_are_what_reading_it_again_needs():
    """A net that is named as text counts as well; without its package the same value is refused."""
    task = tasks.ImageClassification(Module("benchmarks.workloads.nets:mlp", {"widths": (4, 2)}), 2)
    value = {"agents": [raycollab.Agent("a", DIGITS, learners.SGD(), task)], "note": "torch.nn:Linear"}
    assert packages(value) == {"raycollab", "benchmarks"}
    assert from_plain(to_plain(value), trusted=tuple(packages(value))) == value | {"agents": tuple(value["agents"])}
    with pytest.raises(ConfigError, match="is not imported unasked"):
        from_plain(to_plain(value), trusted=("raycollab",))
