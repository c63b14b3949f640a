"""Images and texts in one space: which text belongs to which image?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.errors import ModelError
from raycollab.metrics import Average, Statistics
from raycollab.models.base import Model
from raycollab.models.tokens import is_token, pad_token, trimmed
from raycollab.settings import require, require_one_of
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint, Task
from raycollab.tasks.comparing import check_several, cosines, groups
from raycollab.tasks.images import check_images
from raycollab.tasks.tokens import check_tokens
from raycollab.types import Batch

_MOST = math.log(100)  # of the scale's logarithm


@dataclass(frozen=True)
class Contrastive(Task):
    """Symmetric cross-entropy of finding an image's text and a text's image among those of a batch, as CLIP has it.

    In evaluation they are found among the candidates pairs of a group: rows in order, the last group perhaps smaller.
    Metrics: the loss, "image_to_text", the share of images whose nearest text is their own or equal to it, and
    "text_to_image". Batches of an evaluation hold 1,024 rows, so that candidates that divide this give the same groups
    everywhere; retrieval among fewer is easier.

    The loss of a batch is not the mean of the losses of its pieces: with a learner's micro_batch_size, pairs are told
    apart from those of their piece alone.

    Args:
        net: rc.models.TwoTowers(image, text).
        image: Column of images, floats [n, channels, height, width].
        text: Column of their texts' tokens [n, length]; short texts end in -1.
        candidates: Pairs of a group in evaluation.
        bad_rows: "error" refuses a shard with a NaN or infinity among its images, "drop" leaves such rows out.
    Source: Radford et al., ICML 2021, arXiv 2103.00020, Figure 3; the learned scale of the cosines is at most 100.
    """

    net: Model
    image: str = "image"
    text: str = "text"
    candidates: int = 64
    bad_rows: str = "error"

    label: ClassVar[None] = None

    def __post_init__(self) -> None:
        accepted = "must be a recipe such as rc.models.TwoTowers(image=rc.models.CNN(64), text=...)"
        require(isinstance(self.net, Model), "Contrastive.net", self.net, accepted)
        require(self.image != self.text, "Contrastive.text", self.text, "must be another column than the image's")
        require(self.candidates >= 2, "Contrastive.candidates", self.candidates, "must be >= 2")
        require_one_of("Contrastive.bad_rows", self.bad_rows, ("error", "drop"))

    @property
    def inputs(self) -> tuple[str, str]:
        """The columns that the net is given."""
        return self.image, self.text

    def model(self) -> nn.Module:
        """Build the model.

        Raises: ModelError if it has no two towers.
        """
        module = self.net.build()
        if not hasattr(module, "log_scale"):
            raise ModelError("Contrastive: the net learns no temperature; give rc.models.TwoTowers(image, text)")
        return module

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean of the cross-entropies of both directions [].

        Raises: DataError for a batch of one pair.
        """
        check_several(self.count(batch), "Contrastive", "this batch")
        logits = self.compared(model, batch)
        own = torch.arange(len(logits), device=logits.device)
        return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2

    def compared(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scaled cosines of each image and each text [b, b]; those that belong together on the diagonal."""
        images, texts = self.embeddings(model, batch)
        return cosines(images, texts) * model.get_parameter("log_scale").clamp(max=_MOST).exp()

    def embeddings(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the two towers make of images and texts [b, p].

        Raises: ModelError if that is not of one form.
        """
        tokens = trimmed(batch[self.text])
        text = is_token(tokens)
        given = tokens.masked_fill(~text, pad_token(model.get_submodule("text")))
        images, texts = model(batch[self.image], given, text.long())
        if images.ndim != 2 or images.shape != texts.shape:
            raise ModelError(
                f"Contrastive: the towers' outputs have shapes {list(images.shape)} and {list(texts.shape)}; both must "
                f"be [{len(tokens)}, p]: give them as many outputs"
            )
        return images, texts

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """Sums over the pairs of each group."""
        total, count = 0.0, 0
        found = {"image_to_text": 0, "text_to_image": 0}
        for rows in groups(self.count(batch), self.candidates):
            part = {name: batch[name][rows] for name in self.inputs}
            logits = self.compared(model, part)
            own = torch.arange(len(logits), device=logits.device)
            equal = (part[self.text][:, None] == part[self.text]).all(2)  # texts that say the same are both right
            for name, scores in (("image_to_text", logits), ("text_to_image", logits.T)):
                total += functional.cross_entropy(scores, own, reduction="sum").item() / 2
                found[name] += int(equal[own, scores.argmax(1)].sum())
            count += len(own)
        averages = {name: Average(name, right, count) for name, right in found.items()}
        return Statistics.of({"loss": Average("loss", total, count), **averages})

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Columns "image_embedding" and "text_embedding" [b, p], of length 1: their products are cosines."""
        images, texts = self.embeddings(model, batch)
        normalized = (functional.normalize(each.float(), dim=1) for each in (images, texts))
        return dict(zip(("image_embedding", "text_embedding"), normalized, strict=True))

    def count(self, batch: Batch) -> int:
        """Number of pairs."""
        return len(batch[self.image])

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""
        exchanged = tuple((entry.name, entry.shape) for entry in spec.params)
        return Fingerprint("image_text_cross_entropy", ("loss", "image_to_text", "text_to_image"), exchanged)

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: those without NaN and infinity; bool [n].

        Raises: DataError for a missing column, one that holds no images or no tokens, a single pair, or bad rows if
            `bad_rows` is "error".
        """
        good = check_images(columns, self.image, where, self.bad_rows)
        tower = getattr(self.net, "text", None)
        check_tokens(columns, self.text, where, getattr(tower, "vocab_size", None))
        check_several(int(good.sum()), "Contrastive", where)
        return good
