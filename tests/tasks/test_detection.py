import math
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torchvision.ops import box_iou

import raycollab as rc
from raycollab.data import Arrays
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import Module, Torchvision
from raycollab.predicting import predict_file
from raycollab.tasks import ObjectDetection, padded
from raycollab.tasks.matching import intersection_over_union, matched

SQUARE = [0.0, 0.0, 4.0, 4.0]


class Seer(nn.Module):
    """Says of the i-th image what it was told; in training, two losses."""

    def __init__(self, found=()):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.found = found

    def forward(self, images, targets=None):
        if self.training:
            self.targets = targets
            return {"one": self.weight * len(images), "other": self.weight**2}
        return [
            {
                "boxes": torch.tensor([box for box, _, _ in each]).reshape(-1, 4),
                "labels": torch.tensor([label for _, label, _ in each], dtype=torch.int64),
                "scores": torch.tensor([score for _, _, score in each]),
            }
            for each in self.found
        ]


def task(**settings):
    return ObjectDetection(Module(Seer), settings.pop("num_classes", 2), **settings)


def batch(*objects):
    """Images of 8x8 with these (box, label)."""
    boxes = [torch.tensor([box for box, _ in each]).reshape(-1, 4) for each in objects]
    labels = [torch.tensor([label for _, label in each], dtype=torch.int64) for each in objects]
    return {"image": torch.zeros(len(objects), 3, 8, 8), "label": padded(boxes, labels)}


def score(found, objects):
    return task().statistics(Seer(found).eval(), batch(*objects)).compute()["map50"]


def test_overlap_is_torchvisions():
    corners = torch.rand(2, 6, 2, 2, generator=torch.Generator().manual_seed(0)) * 10
    one, other = (torch.cat([each.amin(1), each.amax(1)], 1) for each in corners)
    torch.testing.assert_close(intersection_over_union(one, other), box_iou(one, other))
    assert intersection_over_union(torch.zeros(1, 4), torch.zeros(1, 4)).tolist() == [[0.0]]


def found_of(boxes, labels, true_boxes, true_labels):
    given = (torch.tensor(each, dtype=kind) for each, kind in zip(
        (boxes, labels, true_boxes, true_labels), (torch.float32, torch.int64) * 2, strict=True))  # fmt: skip
    return matched(*given).tolist()


def test_an_object_is_found_once_and_by_the_best():
    """The second detection of one object is a miss, one of another class too; an overlap of half is enough."""
    assert found_of([SQUARE, SQUARE], [1, 1], [SQUARE], [1]) == [True, False]
    assert found_of([SQUARE], [2], [SQUARE], [1]) == [False]
    assert found_of([[0, 0, 4, 2]], [1], [SQUARE], [1]) == [True]  # 8 of 16
    assert found_of([[0, 0, 4, 1.9]], [1], [SQUARE], [1]) == [False]
    assert found_of([SQUARE], [0], [[0, 0, 0, 0]], [0]) == [False]  # what fills up


def test_each_takes_the_object_that_it_overlaps_most():
    """The first takes the object that it covers whole; the second, which overlaps that one more, gets the other."""
    wide = [0, 0, 4, 3]
    assert found_of([SQUARE, SQUARE], [1, 1], [wide, SQUARE], [1, 1]) == [True, True]
    assert found_of([SQUARE, [0, 0, 4, 4]], [1, 1], [SQUARE, [0, 0, 4, 1]], [1, 1]) == [True, False]


def test_map_by_hand():
    """Two images: class 1 is found and missed once (recall 1/2, precision 1), class 2 found behind a false alarm."""
    found = [[(SQUARE, 1, 0.9), ([4.0, 4.0, 8.0, 8.0], 2, 0.8)], [(SQUARE, 2, 0.7)]]
    objects = [[(SQUARE, 1)], [(SQUARE, 2), ([4.0, 4.0, 8.0, 8.0], 1)]]
    assert score(found, objects) == pytest.approx((51 / 101 + 0.5) / 2)
    assert score([[(SQUARE, 1, 0.9)]], [[(SQUARE, 1)]]) == 1.0
    assert score([[]], [[(SQUARE, 1)]]) == 0.0
    assert math.isnan(score([[(SQUARE, 1, 0.9)]], [[]]))  # no object at all


def test_it_merges_exactly_over_agents():
    found = [[(SQUARE, 1, 0.9)], [(SQUARE, 2, 0.7), (SQUARE, 1, 0.8)], []]
    objects = [[(SQUARE, 2)], [(SQUARE, 2), ([4.0, 4.0, 8.0, 8.0], 1)], [(SQUARE, 1)]]
    whole = task().statistics(Seer(found).eval(), batch(*objects))
    parts = [task().statistics(Seer([one]).eval(), batch(each)) for one, each in zip(found, objects, strict=True)]
    assert parts[2] + (parts[0] + parts[1]) == whole


def test_loss_is_the_sum_and_boxes_are_each_images_own():
    model, given = Seer(), batch([(SQUARE, 1)], [], [(SQUARE, 2), (SQUARE, 1)])
    assert task().loss(model.train(), given).item() == 2 * 3 + 4
    assert [len(each["labels"]) for each in model.targets] == [1, 0, 2]
    assert [tuple(each["boxes"].shape) for each in model.targets] == [(1, 4), (0, 4), (2, 4)]
    with pytest.raises(ModelError, match="gave no losses: torchvision's have them in training mode only"):
        task().loss(Seer([[]] * 3).eval(), given)


def test_predictions_are_filled_up_and_sorted():
    model = Seer([[(SQUARE, 1, 0.2), (SQUARE, 2, 0.9), (SQUARE, 1, 0.5)], []]).eval()
    found = task(max_detections=2).predict(model, batch([], []))
    assert found["prediction"].tolist() == [[2, 1], [0, 0]]
    assert found["probability"].tolist() == [pytest.approx([0.9, 0.5]), [0.0, 0.0]]
    assert found["boxes"].shape == (2, 2, 4)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (
            [[(SQUARE, 1)], [([0.0, 0.0, 9.0, 4.0], 2)]],
            r"row 1, object 0 \(class 2, corners 0, 0, 9, 4\) lies outside its image of 8x8 pixels; clip it",
        ),
        ([[([-1.0, 0.0, 4.0, 4.0], 1)]], r"row 0, object 0 .* lies outside .* clip it to the image \(1 such objects\)"),
        ([[([0.0, math.nan, 4.0, 4.0], 1)]], "lies outside"),
        ([[([4.0, 0.0, 0.0, 4.0], 1)]], "is inverted or empty; corners are left, top, right, bottom"),
        ([[([4.0, 0.0, 4.0, 4.0], 1)]], "is inverted or empty"),
        ([[(SQUARE, 3)]], r"is of no class: classes are 1..2, and 0 for no object; correct it or set num_classes"),
        ([[(SQUARE, -1)]], "is of no class"),
    ],
)
def test_boxes_are_checked(objects, message):
    with pytest.raises(DataError, match=message) as caught:
        task().check(batch(*objects), "north.parquet")
    assert str(caught.value).startswith("north.parquet: ")


def test_images_of_bad_boxes_can_be_dropped():
    """One image for each fault, and two good ones, the second without any object."""
    outside, inverted = [0.0, 0.0, 9.0, 4.0], [4.0, 0.0, 0.0, 4.0]
    held = batch([(SQUARE, 1)], [(SQUARE, 1), (outside, 2)], [(inverted, 1)], [(SQUARE, 3)], [(SQUARE, 2)], [])
    held["image"][4, 2, 7, 7] = math.nan
    assert task(bad_rows="drop").check(held, "here").tolist() == [True, False, False, False, False, True]
    with pytest.raises(DataError, match="row 4 of column 'image' holds NaN or infinity"):
        task().check(held, "here")
    held["image"][4] = 0.0
    with pytest.raises(DataError, match=r"\(1 such objects\), or leave such images out with bad_rows='drop'"):
        task().check(held, "here")
    with pytest.raises(ConfigError, match=r"ObjectDetection.bad_rows='skip': must be 'error' or 'drop'"):
        task(bad_rows="skip")


def test_columns_are_checked():
    good = batch([(SQUARE, 1)], [])
    assert task().check(good, "here").tolist() == [True, True]
    assert task().coverage(good) == "1 objects, 1 of 2 classes"
    for name, bad, message in (
        ("label", torch.zeros(2, 4), r"'label' holds float32 of shape \[2, 4\]; objects are \[n, m, 5\]"),
        ("image", torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "'image' holds uint8 .* images are floats"),
    ):
        with pytest.raises(DataError, match=message):
            task().check({**good, name: bad}, "here")


def test_padded():
    found = padded([torch.tensor([SQUARE]), torch.zeros(0, 4)], [torch.tensor([2]), torch.tensor([])], length=2)
    assert found.tolist() == [[[2.0, *SQUARE], [0.0] * 5], [[0.0] * 5, [0.0] * 5]]
    with pytest.raises(DataError, match="padded: image 0 has 1 boxes and 2 labels"):
        padded([torch.tensor([SQUARE])], [torch.tensor([1, 1])])
    with pytest.raises(DataError, match="at most length=0"):
        padded([torch.tensor([SQUARE])], [torch.tensor([1])], length=0)


def test_objects_in_a_file(tmp_path):
    """A file holds them as lists of one length, and a trained model reads it the same way: 1 of 2 found, and 0 of 1."""
    held = batch([(SQUARE, 1)], [(SQUARE, 2), (SQUARE, 1)])
    flat = {name: column.flatten(1).tolist() for name, column in held.items()}
    pq.write_table(pa.table(flat), tmp_path / "objects.parquet")
    source = rc.data.Parquet(str(tmp_path / "objects.parquet"), shapes={"image": (3, 8, 8), "label": (2, 5)})
    read = source.read()
    assert all(torch.equal(read[name], column) for name, column in held.items())
    model = rc.TrainedModel(Seer([[(SQUARE, 1, 0.5)], []]).eval(), task(), source)
    assert model.evaluate(model.source(source.path)).compute()["map50"] == pytest.approx(51 / 101 / 2)
    pq.write_table(pa.table({"image": flat["image"]}), tmp_path / "unlabelled.parquet")
    predict_file(model, str(tmp_path / "unlabelled.parquet"), str(tmp_path / "out.parquet"))
    out = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert out[0]["boxes"][0] == SQUARE
    assert out[0]["prediction"][:2] == [1, 0]


def test_a_model_that_does_not_fit():
    with pytest.raises(ConfigError, match=r"num_classes=3: must be one less than the net's num_outputs=3"):
        ObjectDetection(Torchvision("ssdlite320_mobilenet_v3_large", 3), 3)
    with pytest.raises(ModelError, match="the model says class 3; num_classes=2 needs as many and a background"):
        task().predict(Seer([[(SQUARE, 3, 0.5)]]).eval(), batch([]))


@pytest.mark.long
def test_a_model_of_torchvisions_learns_together(tmp_path):
    """One bright square on a dark image: two agents of eight images each; the loss falls."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 24, (16, 2), generator=generator)
    images = torch.zeros(16, 3, 64, 64)
    for image, (x, y) in zip(images, corners.tolist(), strict=True):
        image[:, y : y + 32, x : x + 32] = 1.0
    boxes = torch.cat([corners, corners + 32], 1).float()
    source = Arrays({"image": images, "label": padded(list(boxes[:, None]), [torch.ones(1)] * 16)})
    net = Torchvision("ssdlite320_mobilenet_v3_large", 2)
    result = rc.fit(
        [rc.Agent(f"a{i}", s, rc.SGD(lr=0.01, momentum=0.9, batch_size=4), val_fraction=0.0)
         for i, s in enumerate(source.split(rc.Explicit((tuple(range(8)), tuple(range(8, 16))))))],
        rc.Mean(),
        task=ObjectDetection(net, 1),
        test=source,
        run=rc.RunConfig(num_rounds=3, dir=str(tmp_path)),
        scaling=rc.ScalingConfig(pool="local"),
    )  # fmt: skip
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < losses[0]
    assert 0 <= result.metrics["map50"] <= 1
    assert os.path.isfile(tmp_path / "run-001" / "model" / "model.safetensors")
    found = rc.load(str(tmp_path / "run-001")).predict({"image": images[:2]})
    assert found["boxes"].shape == (2, 100, 4)
