"""Self-supervision by hiding: what is in the patches of an image that cannot be seen?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.errors import DataError
from raycollab.metrics import Average, Statistics
from raycollab.models.base import Model
from raycollab.models.vit import ViT, chosen, patches_of
from raycollab.settings import require, require_one_of
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint, Task
from raycollab.tasks.images import check_images, trunk_of
from raycollab.types import Batch

_ORDERS = 256  # in evaluation, of which an image's own values choose one


@dataclass(frozen=True)
class MaskedAutoencoding(Task):
    """Mean squared error of the values of hidden patches; needs no labels.

    Of each image the same share of its patches is hidden, and the trunk is given the others alone. In training the
    choice comes from torch's seed, which is that of the agent and round; in evaluation it depends on the image alone,
    so that every batching and every round asks the same.

    Args:
        net: rc.models.MaskedAutoencoder(rc.models.ViT(...)); its trunk makes the embeddings, and is what a later stage
            begins from.
        inputs: Column of images, floats [n, in_channels, size, size].
        share: Share of the patches that are hidden, in (0, 1).
        bad_rows: "error" refuses a shard with a NaN or infinity among its images, "drop" leaves such rows out.
    Source: He et al., CVPR 2022, arXiv 2111.06377, section 3; values are predicted as they are, not normalized.
    """

    net: Model
    inputs: str = "image"
    share: float = 0.75
    bad_rows: str = "error"

    label: ClassVar[None] = None

    def __post_init__(self) -> None:
        good = isinstance(self.net, Model) and isinstance(getattr(self.net, "trunk", None), ViT)
        accepted = "must be a recipe such as rc.models.MaskedAutoencoder(rc.models.ViT(size=28, patch=4))"
        require(good, "MaskedAutoencoding.net", self.net, accepted)
        number = self._vit.num_patches
        some = 0 < self.share < 1 and 1 <= self._num_seen < number
        accepted = f"must be in (0, 1) and leave some of the net's {number} patches to see, and some to hide"
        require(some, "MaskedAutoencoding.share", self.share, accepted)
        require_one_of("MaskedAutoencoding.bad_rows", self.bad_rows, ("error", "drop"))

    @property
    def _vit(self) -> ViT:
        trunk: ViT = self.net.trunk  # type: ignore[attr-defined]
        return trunk

    @property
    def _num_seen(self) -> int:
        number = self._vit.num_patches
        return number - round(self.share * number)

    def model(self) -> nn.Module:
        """Build the model."""
        return self.net.build()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error of the hidden patches' values []."""
        return functional.mse_loss(*self.predicted(model, batch))

    def predicted(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the model says of the hidden patches, and what they hold [b, hidden, values]."""
        images = batch[self.inputs]
        order = self.order(images, fixed=not model.training)
        seen, hidden = order[:, : self._num_seen], order[:, self._num_seen :]
        values = model(images, seen)
        return chosen(values, hidden).float(), chosen(patches_of(images, self._vit.patch), hidden).float()

    def order(self, images: Tensor, *, fixed: bool) -> Tensor:
        """The patches' numbers, those first that are seen [b, n]: by torch's seed, or by the image's own values."""
        number = self._vit.num_patches
        if not fixed:
            return torch.rand(len(images), number, device=images.device).argsort(1)
        orders = torch.rand(_ORDERS, number, generator=torch.Generator().manual_seed(0)).argsort(1)
        stored = images.flatten(1).contiguous().view(torch.uint8)  # the bytes, whose sum is the same on every device
        return orders.to(images.device)[stored.sum(1, dtype=torch.int64) % _ORDERS]

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """The sum of the images' errors."""
        values, targets = self.predicted(model, batch)
        errors = (values - targets).square().mean((1, 2))
        return Statistics.of({"loss": Average("loss", errors.sum().item(), len(errors))})

    def features(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the trunk makes of whole images [b, width]."""
        features: Tensor = trunk_of(model, "MaskedAutoencoding")(batch[self.inputs])
        return features

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Column "embedding" [b, width], the trunk's outputs for whole images."""
        return {"embedding": self.features(model, batch)}

    def count(self, batch: Batch) -> int:
        """Number of images."""
        return len(batch[self.inputs])

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""
        loss = f"hidden_patches_squared_error(share={self.share}, patch={self._vit.patch})"
        return Fingerprint(loss, ("loss",), tuple((entry.name, entry.shape) for entry in spec.params))

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: those without NaN and infinity; bool [n].

        Raises: DataError for a missing column, one that holds no images of the net's size, or bad rows if `bad_rows` is
            "error".
        """
        good = check_images(columns, self.inputs, where, self.bad_rows)
        held, vit = list(columns[self.inputs].shape[1:]), self._vit
        needed = [vit.in_channels, vit.size, vit.size]
        if held != needed:
            raise DataError(
                f"{where}: column {self.inputs!r} holds images of shape {held}, and the net's ViT is one for {needed}: "
                f"set its size and in_channels, or resize the images to a square"
            )
        return good
