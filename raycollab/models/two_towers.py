"""An encoder of images and one of texts, whose outputs are compared."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.models.base import Model
from raycollab.settings import require


@dataclass(frozen=True)
class TwoTowers(Model):
    """Two nets with outputs of one width, and the temperature of their comparison, which is learned with them.

    Parameters are named image.*, text.* and log_scale, so that `Exchange` and `Frozen` tell the towers apart.

    Args:
        image: Images [b, channels, h, w] -> [b, p].
        text: Tokens int64 [b, t] and attention_mask=int64 [b, t], 0 at padding -> [b, p], or what transformers' models
            return, which holds them as `.logits`: `Transformers(..., head="sequence-classification", num_labels=p)`.
        temperature: What cosines are divided by in the beginning.
    Source: Radford et al., ICML 2021, arXiv 2103.00020, section 2.4.
    """

    image: Model
    text: Model
    temperature: float = 0.07

    def __post_init__(self) -> None:
        for name in ("image", "text"):
            accepted = "must be a recipe such as rc.models.CNN(64)"
            require(isinstance(getattr(self, name), Model), f"TwoTowers.{name}", getattr(self, name), accepted)
        require(0.01 <= self.temperature <= 1, "TwoTowers.temperature", self.temperature, "must be in [0.01, 1]")

    def build(self) -> nn.Module:
        """Make the module."""
        return _TwoTowers(self)


class _TwoTowers(nn.Module):
    def __init__(self, form: TwoTowers):
        super().__init__()
        self.image = form.image.build()
        self.text = form.text.build()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(form.temperature)))

    def forward(self, images: Tensor, tokens: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        output = self.text(tokens, attention_mask=attention_mask)
        return self.image(images), getattr(output, "logits", output)
