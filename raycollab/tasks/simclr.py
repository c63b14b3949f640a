"""Self-supervision by two views: which views are of the same image?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.determinism import seeded
from raycollab.errors import DataError, ModelError
from raycollab.metrics import Average, Statistics
from raycollab.models.base import Model
from raycollab.settings import require, require_one_of
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint, Task
from raycollab.tasks.augmentation import Augmentation
from raycollab.tasks.comparing import check_several, cosines, groups
from raycollab.tasks.images import check_images, trunk_of
from raycollab.types import Batch

_SEED = 0  # of the views in evaluation


@dataclass(frozen=True)
class SimCLR(Task):
    """Cross-entropy of finding an image's other view among all views of a batch (NT-Xent); needs no labels.

    In training the views come from torch's seed, which is that of the agent and round. In evaluation they are fixed,
    and found among the 2 * candidates views of a group: rows in order, the last group perhaps smaller. "accuracy" is
    the share of views whose nearest one is the image's other view. Batches of an evaluation hold 1,024 rows, so that
    candidates that divide this give the same groups everywhere.

    The loss of a batch is not the mean of the losses of its pieces: with a learner's micro_batch_size, views are told
    apart from those of their piece alone.

    Args:
        net: rc.models.Headed(trunk, head): the head's outputs [b, p] are compared; the trunk's are the embeddings, and
            are what a later stage begins from.
        augment: What makes a view of an image, one after another, such as rc.tasks.ResizedCrop(): changes after which
            it is still the same thing.
        inputs: Column of images, floats [n, channels, height, width].
        temperature: Divides the cosines.
        candidates: Images of a group in evaluation.
        bad_rows: "error" refuses a shard with a NaN or infinity among its images, "drop" leaves such rows out.
    Source: Chen et al., ICML 2020, arXiv 2002.05709, equation 1 and Algorithm 1.
    """

    net: Model
    augment: tuple[Augmentation, ...]
    inputs: str = "image"
    temperature: float = 0.5
    candidates: int = 64
    bad_rows: str = "error"

    label: ClassVar[None] = None

    def __post_init__(self) -> None:
        accepted = "must be a recipe such as rc.models.Headed(rc.models.CNN(64), rc.models.MLP(64, 32))"
        require(isinstance(self.net, Model), "SimCLR.net", self.net, accepted)
        object.__setattr__(self, "augment", tuple(self.augment))
        good = bool(self.augment) and all(isinstance(each, Augmentation) for each in self.augment)
        accepted = "must hold augmentations such as rc.tasks.ResizedCrop(), by which two views differ"
        require(good, "SimCLR.augment", self.augment, accepted)
        require(self.temperature > 0, "SimCLR.temperature", self.temperature, "must be > 0")
        require(self.candidates >= 2, "SimCLR.candidates", self.candidates, "must be >= 2")
        require_one_of("SimCLR.bad_rows", self.bad_rows, ("error", "drop"))

    def model(self) -> nn.Module:
        """Build the model.

        Raises: ModelError if it has no trunk.
        """
        module = self.net.build()
        trunk_of(module, "SimCLR")
        return module

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy over all views [].

        Raises: DataError for a batch of one image.
        """
        images = batch[self.inputs]
        check_several(len(images), "SimCLR", "this batch")
        return functional.cross_entropy(*self.told_apart(model, self.views(images, fixed=not model.training)))

    def views(self, images: Tensor, *, fixed: bool) -> Tensor:
        """A view of every image, then another one of each [2b, channels, h, w]; by torch's seed, or the same always."""
        views = torch.cat([images, images])
        if not fixed:
            return self._augmented(views)
        with seeded(_SEED, images.device.type):
            return self._augmented(views)

    def _augmented(self, images: Tensor) -> Tensor:
        for augmentation in self.augment:
            images = augmentation.apply(images)
        return images

    def told_apart(self, model: nn.Module, views: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of each view's other one [2b, 2b], that of a view itself minus infinity, and which it is [2b].

        Raises: ModelError if the net's outputs are not [2b, p].
        """
        projections = model(views)
        if projections.ndim != 2 or len(projections) != len(views):
            raise ModelError(
                f"SimCLR: the model's output has shape {list(projections.shape)}; it needs [{len(views)}, p], a vector "
                f"for each view: give rc.models.Headed(trunk, head) a head such as rc.models.MLP(64, 32)"
            )
        logits = cosines(projections, projections) / self.temperature
        own = torch.arange(len(views), device=views.device)
        return logits.masked_fill(own[:, None] == own, -torch.inf), own.roll(len(views) // 2)

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """Sums over the views of each group."""
        total, right, count = 0.0, 0, 0
        for rows in groups(self.count(batch), self.candidates):
            logits, own = self.told_apart(model, self.views(batch[self.inputs][rows], fixed=True))
            total += functional.cross_entropy(logits, own, reduction="sum").item()
            right += int((logits.argmax(1) == own).sum())
            count += len(own)
        return Statistics.of({"loss": Average("loss", total, count), "accuracy": Average("accuracy", right, count)})

    def features(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the trunk makes of the images as they are [b, f]."""
        features: Tensor = trunk_of(model, "SimCLR")(batch[self.inputs])
        return features.flatten(1)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Column "embedding" [b, f], the trunk's outputs."""
        return {"embedding": self.features(model, batch)}

    def count(self, batch: Batch) -> int:
        """Number of images."""
        return len(batch[self.inputs])

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""
        exchanged = tuple((entry.name, entry.shape) for entry in spec.params)
        return Fingerprint(f"nt_xent(temperature={self.temperature})", ("loss", "accuracy"), exchanged)

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: those without NaN and infinity; bool [n].

        Raises: DataError for a missing column, one that holds no images, images that are too small for an augmentation,
            a single image, or bad rows if `bad_rows` is "error".
        """
        good = check_images(columns, self.inputs, where, self.bad_rows)
        check_several(int(good.sum()), "SimCLR", where)
        height, width = columns[self.inputs].shape[-2:]
        for each in self.augment:
            if min(height, width) < each.smallest:
                raise DataError(
                    f"{where}: images of {height}x{width} pixels are too small for {each}, which needs sides of "
                    f"{each.smallest} or more: give larger images, or set SimCLR.augment"
                )
        return good
