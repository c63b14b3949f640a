"""Every kind of task in a run, with the models that people use for it: what learns moves, and what is saved says it."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import raycollab as rc
from raycollab import conduct, models, tasks
from raycollab.data import Arrays, Characters
from raycollab.deploy import save_model
from raycollab.models import MLP, Transformers
from raycollab.runtime.session import build_model
from raycollab.task import Task
from raycollab.tasks import padded

from ..tasks.nets import SIZES, bart, bert

ROWS = 8
CLASSES = torch.arange(ROWS) % 3
VIT = {"model_type": "vit", **SIZES, "image_size": 8, "patch_size": 4, "num_channels": 1}
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 12, "n_positions": 16}
GPT2 |= {"add_cross_attention": True, "is_decoder": True, "bos_token_id": 1, "eos_token_id": 2}
CAPTIONS = {"model_type": "vision-encoder-decoder", "encoder": VIT, "decoder": GPT2}
CAPTIONS |= {"decoder_start_token_id": 1, "pad_token_id": 0}
NUMBERS_AND_NAMES = {"numbers": 2, "categories": (3, 2), "hidden": (8,)}
ENTRIES = ("numbers", "work", "sex")


def floats(*shape: int) -> Tensor:
    return torch.rand(ROWS, *shape, generator=torch.Generator().manual_seed(0))


def tokens(length: int = 6) -> Tensor:
    """Tokens 3 to 11, of which every second row has two less."""
    drawn = torch.randint(3, 12, (ROWS, length), generator=torch.Generator().manual_seed(1))
    drawn[1::2, length - 2 :] = -1
    return drawn


def table() -> dict[str, Tensor]:
    return {"numbers": floats(2), "work": CLASSES, "sex": CLASSES % 2}


def objects() -> dict[str, Tensor]:
    """Four images with squares of all sizes that the detector tells apart, so that all of it learns."""
    sides = 64 * torch.tensor([0.2, 0.35, 0.5, 0.65, 0.8, 0.95])[:, None]
    squares = torch.cat([torch.ones(6, 2), 1 + sides.expand(-1, 2)], 1)
    return {"image": floats(3, 64, 64)[:4], "label": padded([squares] * 4, [torch.ones(6)] * 4)}


@dataclass(frozen=True)
class Kind:
    """A task, its data, and the ends of names of what gets no gradient though it could learn."""

    task: Task
    columns: dict[str, Tensor]
    still: tuple[str, ...] = ()


def torchvision(name: str) -> Kind:
    return Kind(
        tasks.ImageClassification(models.Torchvision(name, 3), 3), {"image": floats(3, 32, 32), "label": CLASSES}
    )


VIT_CLASSES = Transformers(head="image-classification", pretrained=False, num_labels=3, config=VIT)
CAPTIONING = Transformers(head="image-to-text", pretrained=False, config=CAPTIONS)
DETECTOR = models.Torchvision("ssdlite320_mobilenet_v3_large", 2)
HEARS = models.Sequential((models.LogMel(8000, mels=8, hop_s=0.0125), models.CNN(3, size=8, channels=(4,))))
SENSES = models.Multimodal({"image": MLP(4, 3), "sound": MLP(2, 3)}, rc.fusion.Gated(6), 3)
SMALL_VIT = models.ViT(size=8, patch=2, width=8, num_layers=1, num_heads=2)
PLAIN = tasks.Classification(MLP(6, 3, (8, 8)), 3)
FEATURES = {"features": floats(6), "label": CLASSES}
IMAGES = {"image": floats(1, 8, 8)}

KINDS = {
    "images by ResNet-18": torchvision("resnet18"),
    "images by MobileNet": torchvision("mobilenet_v3_small"),
    "images by ViT": Kind(tasks.ImageClassification(VIT_CLASSES, 3), {**IMAGES, "label": CLASSES}),
    "captions": Kind(
        tasks.SequenceToSequence(CAPTIONING, inputs="image", target="text", max_tokens=4),
        {**IMAGES, "text": tokens()},
        still=("pooler.dense.weight", "pooler.dense.bias"),
    ),
    "objects": Kind(tasks.ObjectDetection(DETECTOR, 1), objects()),
    "several labels": Kind(tasks.MultiLabel(MLP(6, 4, (8,)), 4), {**FEATURES, "label": (floats(4) > 0.5).long()}),
    "words": Kind(
        tasks.TokenClassification(bert("token-classification", num_labels=3), 3),
        {"text": tokens(), "label": torch.where(tokens() < 0, -100, tokens() % 3)},
    ),
    "texts": Kind(
        tasks.TextClassification(bert("sequence-classification", num_labels=3), 3), {"text": tokens(), "label": CLASSES}
    ),
    "translation": Kind(tasks.SequenceToSequence(bart(), max_tokens=4), {"source": tokens(), "target": tokens(5)}),
    "language": Kind(
        tasks.CausalLM(models.GPT(12, num_layers=1, num_heads=2, width=8, context=5), 12),
        {"tokens": tokens().clamp(min=0)},
    ),
    "hidden words": Kind(
        tasks.MaskedLM(bert("masked-lm"), Characters("abcdefghijk")), {"text": tokens().clamp(max=10)}
    ),
    "a table's classes": Kind(
        tasks.TabularClassification(models.Tabular(3, **NUMBERS_AND_NAMES), 3, inputs=ENTRIES),
        {**table(), "label": CLASSES},
    ),
    "a table's numbers": Kind(
        tasks.TabularRegression(models.Tabular(1, **NUMBERS_AND_NAMES), inputs=ENTRIES), {**table(), "label": floats()}
    ),
    "series' classes": Kind(
        tasks.SeriesClassification(models.Series(3, 2, widths=(4, 4)), 3), {"series": floats(9, 2), "label": CLASSES}
    ),
    "series' numbers": Kind(
        tasks.SeriesRegression(models.Series(1, 2, widths=(4, 4))), {"series": floats(9, 2), "label": floats()}
    ),
    "numbers": Kind(tasks.Regression(MLP(6, 1, (8,))), {**FEATURES, "label": floats()}),
    "classes": Kind(PLAIN, FEATURES),
    "sound": Kind(tasks.AudioClassification(HEARS, 3), {"wav": floats(800) - 0.5, "label": CLASSES}),
    "modalities": Kind(tasks.Multimodal(SENSES, 3), {"image": floats(4), "sound": floats(2), "label": CLASSES}),
    "two views": Kind(
        tasks.SimCLR(
            models.Headed(MLP(64, 8, ()), MLP(8, 4, ())),
            augment=(tasks.ResizedCrop(), tasks.HorizontalFlip()),
            candidates=4,
        ),
        IMAGES,
    ),
    "images and texts": Kind(
        tasks.Contrastive(
            models.TwoTowers(MLP(64, 4, ()), bert("sequence-classification", num_labels=4)), candidates=4
        ),
        {**IMAGES, "text": tokens()},
    ),
    "hidden patches": Kind(tasks.MaskedAutoencoding(models.MaskedAutoencoder(SMALL_VIT, width=8, num_heads=2)), IMAGES),
    "widths": Kind(tasks.OrderedDropout(PLAIN, (0.5, 1.0)), FEATURES),
    "exits": Kind(tasks.EarlyExiting(tasks.Classification(models.EarlyExits(PLAIN.net, ("2",)), 3)), FEATURES),
}


def test_no_kind_is_left_out():
    named = [getattr(tasks, name) for name in tasks.__all__]
    there = {each for each in named if isinstance(each, type) and issubclass(each, Task)}
    assert {type(kind.task) for kind in KINDS.values()} == there


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_what_learns_moves_and_the_saved_model_says_what_the_trained_one_says(kind, tmp_path, monkeypatch):
    """Two rounds of two agents."""
    trained = []

    def seen(storage, task, module, **more):
        trained.append(module)
        save_model(storage, task, module, **more)

    monkeypatch.setattr(conduct, "save_model", seen)
    data = Arrays(kind.columns)
    learner = rc.SGD(lr=0.1, momentum=0.5, steps=2, batch_size=4)
    result = rc.fit(
        [rc.Agent(f"party-{i}", part, learner, val_fraction=0.0) for i, part in enumerate(data.split(rc.IID(2)))],
        rc.Mean(),
        test=data,
        task=kind.task,
        run=rc.RunConfig(num_rounds=2, dir=str(tmp_path)),
        scaling=rc.ScalingConfig(pool="local"),
    )
    assert [row["agent"] for row in result.agents] == ["party-0", "party-1"] * 2
    assert all(math.isfinite(row["loss"]) and row["norm"] > 0 for row in result.agents)
    again = rc.load(result.path)
    assert again.task == kind.task
    start = dict(build_model(kind.task, rc.Exchange(), seed=0).module.named_parameters())
    learns = {name: parameter for name, parameter in again.module.named_parameters() if parameter.requires_grad}
    assert [name for name in learns if torch.equal(learns[name], start[name]) and not name.endswith(kind.still)] == []
    said, expected = again.predict(kind.columns), rc.TrainedModel(trained[0].eval(), kind.task).predict(kind.columns)
    assert said.keys() == expected.keys()
    assert all(torch.equal(said[name], expected[name]) for name in said)
    found = again.evaluate(data).compute()
    assert found == pytest.approx(dict(result.metrics), rel=1e-5, nan_ok=True)
