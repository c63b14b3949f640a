"""Fusion by modulation: the other modalities say how the features of one are scaled and shifted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.fusion.base import Fused, Fusion, Given, check_width, per_modality
from raycollab.settings import require


@dataclass(frozen=True)
class FiLM(Fusion):
    """Feature-wise linear modulation: relu((1 + scale) * W x + shift), with scale and shift from all other modalities.

    Where the modality that is modulated is absent, the shift alone is left; where all others are, its own features.

    Args:
        base: The modality that is modulated.
        width: Length of the vector that it makes.
    Raises: ConfigError for a base that nobody holds.
    Source: Perez et al., AAAI 2018, arXiv 1709.07871, section 2.
    """

    base: str
    width: int = 64

    def __post_init__(self) -> None:
        check_width(self)

    def check(self, modalities: Iterable[str]) -> None:
        """Somebody must hold the base."""
        names = sorted(modalities)
        accepted = f"is a modality that nobody holds; there are: {', '.join(names)}"
        require(self.base in names, "FiLM.base", self.base, accepted)

    def build(self, widths: Mapping[str, int], num_outputs: int) -> Fused:
        """Make the module."""
        del num_outputs
        return _FiLM(widths, self.base, self.width)


class _FiLM(Fused):
    def __init__(self, widths: Mapping[str, int], base: str, width: int):
        super().__init__(widths)
        others = {name: before for name, before in widths.items() if name != base}
        own = {name: before for name, before in widths.items() if name == base}
        self.project = per_modality(own, lambda before: nn.Linear(before, width))
        self.modulate = per_modality(others, lambda before: nn.Linear(before, 2 * width))
        self.bias = nn.Parameter(torch.zeros(width))

    def fuse(self, given: list[Given]) -> Tensor:
        base: Tensor | float = 0.0
        scale: Tensor | float = 1.0
        shift: Tensor = self.bias
        for each in given:
            there = each.present.unsqueeze(1)
            if each.name in self.project:
                base = self.project[each.name](each.pooled) * there
            else:
                more, added = (self.modulate[each.name](each.pooled) * there).chunk(2, 1)
                scale, shift = scale + more, shift + added
        return torch.relu(scale * base + shift)
