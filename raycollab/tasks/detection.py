"""Object detection: where objects are in an image, and what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.data import LABEL
from raycollab.errors import DataError, ModelError, RowError
from raycollab.labels import NO_LABELS, OBJECTS, Labels, labels_of
from raycollab.metrics import AveragePrecision, Statistics
from raycollab.models.base import Model
from raycollab.settings import require, require_one_of
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint, Task
from raycollab.tasks.inputs import check_names, finite_rows
from raycollab.tasks.matching import matched
from raycollab.types import Batch


@dataclass(frozen=True)
class ObjectDetection(Task):
    """The sum of the losses of one of torchvision's detection models; mean average precision at an IoU of 0.5.

    Images have different numbers of objects, or none: what they have is filled up to one length with rows of zeros,
    and class 0 says that there is no object. `padded` makes such a column of lists; a file holds it as lists of 5 m
    numbers, read with shapes={"label": (m, 5)}.

    Args:
        net: Such as rc.models.Torchvision("fasterrcnn_resnet50_fpn", num_classes + 1): one output more, for background.
        num_classes: Objects are 1 .. num_classes.
        inputs: Column of images, floats in 0..1 [n, 3, h, w]; the models normalize them.
        label: Column of objects [n, m, 5]: class, left, top, right, bottom, in pixels.
        max_detections: Kept of an image, the most certain ones.
        bad_rows: "error" refuses a shard with a NaN among its images, an unknown class or a box that is none, "drop"
            leaves such images out and counts them.
    Source: the metric is COCO's, Lin et al., ECCV 2014, at one IoU and without crowds.
    """

    net: Model
    num_classes: int
    inputs: str = "image"
    label: str = LABEL
    max_detections: int = 100
    bad_rows: str = "error"

    primary = ("map50", True)

    def __post_init__(self) -> None:
        accepted = 'must be a recipe such as rc.models.Torchvision("fasterrcnn_resnet50_fpn", num_classes + 1)'
        require(isinstance(self.net, Model), "ObjectDetection.net", self.net, accepted)
        require(self.num_classes >= 1, "ObjectDetection.num_classes", self.num_classes, "must be >= 1")
        own = getattr(self.net, "num_outputs", self.num_classes + 1)
        accepted = f"must be one less than the net's num_outputs={own}, which counts the background"
        require(own == self.num_classes + 1, "ObjectDetection.num_classes", self.num_classes, accepted)
        require(self.max_detections >= 1, "ObjectDetection.max_detections", self.max_detections, "must be >= 1")
        require_one_of("ObjectDetection.bad_rows", self.bad_rows, ("error", "drop"))

    def model(self) -> nn.Module:
        """Build the model."""
        return self.net.build()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum of the model's losses [].

        Raises: ModelError for a model in evaluation mode, in which torchvision's have no loss.
        """
        targets = []
        for objects in batch[self.label].float():
            own = objects[objects[:, 0] > 0]
            targets.append({"boxes": own[:, 1:], "labels": own[:, 0].long()})
        losses = model(list(batch[self.inputs]), targets)
        if not isinstance(losses, Mapping):
            raise ModelError(
                "ObjectDetection: the model gave no losses: torchvision's have them in training mode only, so learners "
                "that ask for the loss of an evaluated model cannot be used"
            )
        return torch.stack(list(losses.values())).sum()

    def count(self, batch: Batch) -> int:
        """Number of images."""
        return len(batch[self.inputs])

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """What was found, and what there is to be found."""
        found = self.predict(model, batch)
        objects = batch[self.label].float().cpu()
        boxes, truth = objects[..., 1:], objects[..., 0].long()
        seen = {name: values.cpu() for name, values in found.items()}
        hits = torch.stack(
            [matched(*each) for each in zip(seen["boxes"], seen["prediction"], boxes, truth, strict=True)]
        )
        kept = seen["prediction"] > 0
        sizes = torch.bincount(truth[truth > 0] - 1, minlength=self.num_classes)
        ranks = AveragePrecision.of(seen["prediction"][kept] - 1, seen["probability"][kept], hits[kept], sizes)
        return Statistics.of({"detections": ranks})

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Columns "boxes" [b, k, 4], "prediction" [b, k], 0 behind the last, and "probability" [b, k], best first."""
        images = batch[self.inputs]
        found = {
            "boxes": images.new_zeros(len(images), self.max_detections, 4),
            "prediction": torch.zeros(len(images), self.max_detections, dtype=torch.int64, device=images.device),
            "probability": images.new_zeros(len(images), self.max_detections),
        }
        for row, detected in enumerate(model(list(images))):
            best = detected["scores"].argsort(descending=True, stable=True)[: self.max_detections]
            for name, key in (("boxes", "boxes"), ("prediction", "labels"), ("probability", "scores")):
                found[name][row, : len(best)] = detected[key][best]
        if int(found["prediction"].max()) > self.num_classes:
            last = int(found["prediction"].max())
            raise ModelError(
                f"the model says class {last}; num_classes={self.num_classes} needs as many and a background"
            )
        return found

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""
        exchanged = tuple((entry.name, entry.shape) for entry in spec.params)
        return Fingerprint(f"detection(num_classes={self.num_classes})", ("map50",), exchanged)

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which images can be learned from: finite ones with boxes of known classes inside them; bool [n].

        Raises: DataError for a missing column, one of another form, or bad rows if `bad_rows` is "error".
        """
        check_names(columns, (self.inputs, self.label), where)
        images, objects = columns[self.inputs], columns[self.label]
        for name, fits, wanted in (
            (self.inputs, images.ndim == 4 and images.is_floating_point(), "images are floats [n, channels, h, w]"),
            (self.label, objects.ndim == 3 and objects.shape[-1] == 5, "objects are [n, m, 5], as rc.tasks.padded has"),
        ):
            if not fits:
                held = f"{str(columns[name].dtype).removeprefix('torch.')} of shape {list(columns[name].shape)}"
                raise DataError(f"{where}: column {name!r} holds {held}; {wanted}")
        good = finite_rows(columns, (self.inputs,), where, self.bad_rows)
        for reason, wrong in self._wrong(objects, images.shape[-1], images.shape[-2]).items():
            if self.bad_rows == "error" and bool(wrong.any()):
                row, place = wrong.nonzero()[0].tolist()
                kind, *corners = (f"{value:g}" for value in objects[row, place].tolist())
                what = (
                    f", object {place} (class {kind}, corners {', '.join(corners)}) {reason} "
                    f"({int(wrong.sum())} such objects), or leave such images out with bad_rows='drop'"
                )
                raise RowError.of(where, row, what)
            good &= ~wrong.any(1)
        return good

    def _wrong(self, objects: Tensor, width: int, height: int) -> dict[str, Tensor]:
        """Which objects are wrong [n, m], by what is wrong with them and what to do."""
        kind, left, top, right, bottom = objects.unbind(2)
        there, known = kind != 0, (kind == kind.floor()) & (kind >= 0) & (kind <= self.num_classes)
        inside = (left >= 0) & (top >= 0) & (right <= width) & (bottom <= height)  # NaN is not
        remedy = f"classes are 1..{self.num_classes}, and 0 for no object; correct it or set num_classes"
        return {
            f"is of no class: {remedy}": ~known,
            "is inverted or empty; corners are left, top, right, bottom": there & ((right <= left) | (bottom <= top)),
            f"lies outside its image of {width}x{height} pixels; clip it to the image": there & ~inside,
        }

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """How many objects the data has, of how many classes."""
        kinds = columns[self.label][..., 0]
        labels = kinds[kinds > 0]
        return f"{len(labels):,} objects, {len(labels.unique())} of {self.num_classes} classes"

    def count_labels(self, columns: Mapping[str, Tensor]) -> Labels:
        """How many objects there are of each class; rows of zeros, which fill up, are none."""
        if self.label not in columns:
            return NO_LABELS
        objects = columns[self.label]
        if objects.ndim == 3:
            kinds = objects[..., 0]
            objects = kinds[kinds != 0]
        return labels_of(objects, self.num_classes, OBJECTS, first=1)


def padded(boxes: Sequence[Tensor], labels: Sequence[Tensor], length: int | None = None) -> Tensor:
    """A column of objects [n, m, 5] of what each image has.

    Args:
        boxes: Corners of each image's objects [k, 4].
        labels: Their classes [k], from 1 on.
        length: m; None takes the most objects that an image has, and 1 at least.
    Raises: DataError if an image has more objects than `length`, or not a label for each box.
    """
    length = max([1, *map(len, labels)]) if length is None else length
    whole = torch.zeros(len(boxes), length, 5)
    for row, (corners, own) in enumerate(zip(boxes, labels, strict=True)):
        if len(corners) != len(own) or len(own) > length:
            raise DataError(
                f"padded: image {row} has {len(corners)} boxes and {len(own)} labels; give a label for each box, and "
                f"at most length={length}"
            )
        whole[row, : len(own), 0] = own
        whole[row, : len(own), 1:] = corners
    return whole
