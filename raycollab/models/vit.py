"""A small vision Transformer, and with it an autoencoder of images of which most is hidden."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.models.base import Model
from raycollab.settings import require

_STD = 0.02


@dataclass(frozen=True)
class ViT(Model):
    """Cuts images into square patches, and lets them look at each other in Transformer layers.

    LayerNorm stands before attention and before a GELU layer of 4 widths; positions are learned. There is no class
    token: features are the mean over all patches. For classes: `Headed(ViT(...), MLP(width, num_classes, ()))`.

    Args:
        size: Sides of the images, in pixels.
        in_channels: Their channels.
        patch: Sides of a patch, which divide the size.
        width: Length of a patch's vector.
        num_layers: Transformer layers.
        num_heads: Attention heads, which divide the width.
    Shapes: images [b, in_channels, size, size] -> features [b, width]; given the numbers of patches that it may see,
        int64 [b, k], their vectors [b, k, width].
    Source: Dosovitskiy et al., ICLR 2021, arXiv 2010.11929.
    """

    size: int = 28
    in_channels: int = 1
    patch: int = 4
    width: int = 64
    num_layers: int = 4
    num_heads: int = 4

    def __post_init__(self) -> None:
        for name in ("size", "in_channels", "patch", "width", "num_layers", "num_heads"):
            require(getattr(self, name) >= 1, f"ViT.{name}", getattr(self, name), "must be >= 1")
        require(self.size % self.patch == 0, "ViT.patch", self.patch, f"must divide size={self.size}")
        _check_heads("ViT", self.width, self.num_heads)

    @property
    def num_patches(self) -> int:
        """Patches of an image."""
        return (self.size // self.patch) ** 2

    @property
    def patch_values(self) -> int:
        """Values of a patch."""
        return self.in_channels * self.patch**2

    def build(self) -> nn.Module:
        """Make the module."""
        return _ViT(self)


@dataclass(frozen=True)
class MaskedAutoencoder(Model):
    """A ViT that sees some of the patches, and a smaller one that says what all of them hold.

    Args:
        trunk: Sees patches; it is what a later stage keeps, as `Headed(ViT(...), head)` with the same ViT.
        width: Length of a patch's vector in the head.
        num_layers: Transformer layers of the head.
        num_heads: Its attention heads, which divide the width.
    Shapes: images [b, in_channels, size, size] and numbers of the patches that are seen, int64 [b, k] -> values
        [b, num_patches, in_channels * patch * patch].
    Source: He et al., CVPR 2022, arXiv 2111.06377, section 3; positions are learned here.
    """

    trunk: ViT
    width: int = 64
    num_layers: int = 1
    num_heads: int = 4

    def __post_init__(self) -> None:
        accepted = "must be a recipe of a ViT such as rc.models.ViT(size=28, patch=4)"
        require(isinstance(self.trunk, ViT), "MaskedAutoencoder.trunk", self.trunk, accepted)
        for name in ("width", "num_layers", "num_heads"):
            require(getattr(self, name) >= 1, f"MaskedAutoencoder.{name}", getattr(self, name), "must be >= 1")
        _check_heads("MaskedAutoencoder", self.width, self.num_heads)

    def build(self) -> nn.Module:
        """Make the module."""
        return _Autoencoder(self)


def patches_of(images: Tensor, patch: int) -> Tensor:
    """The patches of images [b, channels, h, w], row by row: [b, num_patches, channels * patch * patch]."""
    return functional.unfold(images, patch, stride=patch).transpose(1, 2)


def chosen(patches: Tensor, which: Tensor) -> Tensor:
    """Some of the patches of each image [b, k, values], by their numbers [b, k]."""
    return patches.gather(1, which[:, :, None].expand(-1, -1, patches.shape[2]))


def _check_heads(name: str, width: int, num_heads: int) -> None:
    require(width % num_heads == 0, f"{name}.width", width, f"must be a multiple of num_heads={num_heads}")


def _positions(count: int, width: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(count, width) * _STD)


def _layers(count: int, width: int, num_heads: int) -> nn.Sequential:
    """Transformer layers, each with its own initial values."""
    return nn.Sequential(
        *(
            nn.TransformerEncoderLayer(width, num_heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(count)
        )
    )


class _ViT(nn.Module):
    def __init__(self, form: ViT):
        super().__init__()
        self._patch = form.patch
        self.embed = nn.Linear(form.patch_values, form.width)
        self.positions = _positions(form.num_patches, form.width)
        self.layers = _layers(form.num_layers, form.width, form.num_heads)
        self.norm = nn.LayerNorm(form.width)

    def forward(self, images: Tensor, seen: Tensor | None = None) -> Tensor:
        patches = patches_of(images, self._patch)
        positions = self.positions.expand(len(images), -1, -1)
        if seen is not None:
            patches, positions = chosen(patches, seen), chosen(positions, seen)
        vectors = self.norm(self.layers(self.embed(patches) + positions))  # [b, patches that it sees, width]
        return vectors.mean(1) if seen is None else vectors


class _Autoencoder(nn.Module):
    def __init__(self, form: MaskedAutoencoder):
        super().__init__()
        self.trunk = form.trunk.build()
        self.head = _Decoder(form)

    def forward(self, images: Tensor, seen: Tensor) -> Tensor:
        return self.head(self.trunk(images, seen), seen)


class _Decoder(nn.Module):
    def __init__(self, form: MaskedAutoencoder):
        super().__init__()
        self.embed = nn.Linear(form.trunk.width, form.width)
        self.hidden = nn.Parameter(torch.randn(form.width) * _STD)  # stands for every patch that is not seen
        self.positions = _positions(form.trunk.num_patches, form.width)
        self.layers = _layers(form.num_layers, form.width, form.num_heads)
        self.norm = nn.LayerNorm(form.width)
        self.values = nn.Linear(form.width, form.trunk.patch_values)

    def forward(self, vectors: Tensor, seen: Tensor) -> Tensor:
        known = self.embed(vectors)  # [b, k, width]
        places = seen[:, :, None].expand_as(known)
        every = self.hidden.to(known.dtype).expand(len(known), len(self.positions), -1).scatter(1, places, known)
        return self.values(self.norm(self.layers(every + self.positions)))
