"""What ways of fusing modalities have in common: a recipe of settings, and a module over what is there."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from raycollab.errors import ModelError
from raycollab.settings import Settings, require


class Fusion(Settings, ABC):
    """A frozen recipe of a module that makes one vector of the features of several modalities.

    Whoever holds only some of the modalities builds the module for these: what belongs to a modality is called by its
    name, and the rest has the same shapes whichever modalities there are, so that parties share what they both hold.

    Attributes:
        width: Length of the vector.
        decides: Whether it makes the outputs itself, so that no head stands on it.
    """

    width: int

    decides: ClassVar[bool] = False

    @abstractmethod
    def build(self, widths: Mapping[str, int], num_outputs: int) -> "Fused":
        """Make the module; its initial weights come from torch's seed.

        Args:
            widths: Length of the features of each modality that is held.
            num_outputs: Outputs, for those that decide.
        """

    def check(self, modalities: Iterable[str]) -> None:
        """Raise ConfigError if it cannot fuse these modalities, all that anybody holds."""
        del modalities


class Given(NamedTuple):
    """The features of a modality.

    Args:
        name: The modality's.
        features: [b, w], or a row of tokens each [b, t, w]; zeros where they are absent.
        present: Which rows have it, bool [b].
    """

    name: str
    features: Tensor
    present: Tensor

    @property
    def pooled(self) -> Tensor:
        """Its features, or the mean of its tokens [b, w]."""
        return self.features.mean(1) if self.features.ndim == 3 else self.features

    @property
    def tokens(self) -> Tensor:
        """Its tokens, or its features as a single one [b, t, w]."""
        return self.features if self.features.ndim == 3 else self.features.unsqueeze(1)


class Fused(nn.Module, ABC):
    """Fuses what is there. Modalities are taken in the order of their names, whatever the order of the mapping.

    Args:
        widths: Length of the features of each modality.
    Shapes: features by modality, [b, w] or tokens [b, t, w], and which rows have them, bool [b] -> [b, width]. A
        modality that is not given is absent from all rows; one of which nothing else is said is there in all of them.
        What stands in the features of an absent one changes nothing.
    Raises: ModelError from its forward pass for a modality that it does not hold, features of another width, and a row
        that has no modality at all.
    """

    def __init__(self, widths: Mapping[str, int]):
        super().__init__()
        self.widths = dict(sorted(widths.items()))

    def forward(self, features: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Check what is given, and fuse it."""
        return self.fuse(self._given(features, present or {}))

    @abstractmethod
    def fuse(self, given: list[Given]) -> Tensor:
        """The vector of each row; at least one modality is given, in the order of their names [b, width]."""

    def _given(self, features: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Given]:
        known = ", ".join(self.widths)
        for name, values in features.items():
            if name not in self.widths:
                raise ModelError(f"fusion was given features of {name!r}; it holds: {known}")
            if values.ndim not in (2, 3) or values.shape[-1] != self.widths[name]:
                raise ModelError(
                    f"fusion was given features of {name!r} of shape {list(values.shape)}, and takes [b, "
                    f"{self.widths[name]}] or [b, t, {self.widths[name]}]: set the encoder's outputs, or widths="
                )
        if not features:
            raise ModelError(f"fusion was given a batch in which no modality is present; it holds: {known}")
        given = []
        for name in sorted(features):
            values = features[name]
            there = present.get(name, torch.ones(len(values), dtype=torch.bool, device=values.device)).bool()
            absent = ~there.view(-1, *(1 for _ in values.shape[1:]))
            given.append(Given(name, values.masked_fill(absent, 0.0), there))
        without = ~torch.stack([each.present for each in given]).any(0)
        if bool(without.any()):
            raise ModelError(
                f"fusion was given {int(without.sum())} rows in which no modality is present, the first of them row "
                f"{int(without.nonzero()[0])} of the batch; it holds: {known}"
            )
        return given


def per_modality(widths: Mapping[str, int], make: Callable[[int], nn.Module]) -> nn.ModuleDict:
    """A module for each modality, made in the order of their names."""
    return nn.ModuleDict({name: make(width) for name, width in sorted(widths.items())})


def mean_present(values: list[Tensor], given: list[Given]) -> Tensor:
    """Mean over the modalities that each row has, of one tensor [b, ...] each."""
    shape = (-1, *(1 for _ in values[0].shape[1:]))
    shares = torch.stack([each.present for each in given]).to(values[0].dtype)  # [m, b]
    shares = shares / shares.sum(0)
    return torch.stack([value * share.view(shape) for value, share in zip(values, shares, strict=True)]).sum(0)


def check_width(fusion: Fusion) -> None:
    """Raise ConfigError for a width that is none."""
    require(fusion.width >= 1, f"{type(fusion).__name__}.width", fusion.width, "must be >= 1")


def check_heads(fusion: Fusion, num_heads: int) -> None:
    """Raise ConfigError for attention heads that do not divide the width."""
    good = num_heads >= 1 and fusion.width % num_heads == 0
    accepted = f"must be >= 1 and divide width={fusion.width}"
    require(good, f"{type(fusion).__name__}.num_heads", num_heads, accepted)
