"""Adapters of low rank: pairs of thin factors, and sums of their products, which are never made as a whole."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.errors import ModelError
from raycollab.spec import ADAPTER, Entry

Factors = tuple[Tensor, Tensor]  # B [height, rank] and A [rank, width]

_FACTOR = re.compile(r"\.lora_(?:embedding_)?([AB])\.")
_ROUNDING = 1e-7  # of a layer's largest singular value: what is below is rounding of factors in float32


@dataclass(frozen=True)
class Pair:
    """Where the two factors of an adapter stand in a vector.

    Args:
        layer: The layer's name.
        down: A, [rank, width] or a convolution's [rank, ...].
        up: B, [height, rank] or a convolution's [height, rank, 1, ...].
    """

    layer: str
    down: Entry
    up: Entry

    @property
    def rank(self) -> int:
        """The most components that there can be."""
        return self.down.shape[0]

    @property
    def width(self) -> int:
        """Length of a row of A."""
        return self.down.size // self.rank

    @property
    def height(self) -> int:
        """Length of a column of B."""
        return self.up.size // self.rank

    def of(self, vector: Tensor) -> Factors:
        """The factors in a vector [d]; views."""
        up, down = (vector[entry.offset : entry.stop] for entry in (self.up, self.down))
        return up.view(self.height, self.rank), down.view(self.rank, self.width)

    def flat(self, factors: Factors) -> Tensor:
        """Factors of any rank as one vector [rank * (height + width)]."""
        return torch.cat([factor.reshape(-1) for factor in factors])

    def unflat(self, flat: Tensor) -> Factors:
        """The factors again."""
        rank = flat.numel() // (self.height + self.width)
        up, down = flat.split([self.height * rank, rank * self.width])
        return up.view(self.height, rank), down.view(rank, self.width)


def pairs_of(entries: Iterable[Entry]) -> tuple[Pair, ...]:
    """The adapters of low rank among parameters, by their names: LAYER.lora_A.* and LAYER.lora_B.* are one.

    Raises: ModelError for a factor without the other one, or two that do not fit.
    """
    found: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        if match := _FACTOR.search(entry.name):
            own = entry.name[match.end() :].removesuffix(".weight")
            layer = entry.name[: match.start()] + ("" if own == ADAPTER else f".{own}")
            found.setdefault(layer, {})[match[1]] = entry
    for factors in found.values():
        first, *other = factors.values()
        if not other:
            raise ModelError(
                f"{first.name!r} is exchanged without the other factor of its adapter: exchange both or neither"
            )
        if factors["A"].shape[0] != factors["B"].shape[1]:
            raise ModelError(
                f"{factors['B'].name!r} {factors['B'].shape} times {factors['A'].name!r} {factors['A'].shape} is no "
                f"product: A must be [rank, ...] and B [..., rank]"
            )
    return tuple(Pair(layer, factors["A"], factors["B"]) for layer, factors in found.items())


@dataclass(frozen=True)
class Spectrum:
    """A sum of products by its singular values, which fall.

    Args:
        up: Left singular vectors, float64 [height, k].
        values: Float64 [k].
        down: Right singular vectors, float64 [k, width]; the largest element of each is positive.
    """

    up: Tensor
    values: Tensor
    down: Tensor

    @classmethod
    def of(cls, terms: Sequence[Factors]) -> "Spectrum":
        """That of the sum of B A over terms; memory and time go by the sum of their ranks."""
        left, up = torch.linalg.qr(torch.cat([up for up, _ in terms], 1).double())
        right, down = torch.linalg.qr(torch.cat([down for _, down in terms]).double().T)
        inner, values, outer = torch.linalg.svd(up @ down.T, full_matrices=False)
        outer = outer @ right.T
        signs = torch.where(outer.gather(1, outer.abs().argmax(1, keepdim=True)) < 0, -1.0, 1.0)  # [k, 1]
        return cls(left @ inner * signs.T, values, outer * signs)

    def __len__(self) -> int:
        return len(self.values)


def ranks_within(spectra: Mapping[str, Spectrum], most: Mapping[str, int], budget: int | None) -> dict[str, int]:
    """How many components of each layer are kept: the largest of all layers, up to the budget.

    Args:
        spectra: By layer.
        most: Components that a layer can have.
        budget: Components that all layers can have together; None for no limit.
    """
    found = [
        (-value, layer)
        for layer, spectrum in spectra.items()
        for value in spectrum.values[: most[layer]].tolist()
        if value > _ROUNDING * float(spectrum.values[0])
    ]
    found.sort(key=lambda each: each[0])  # stable: of equal ones, those of the first layers
    kept = [layer for _, layer in found[:budget]]
    return {layer: kept.count(layer) for layer in spectra}


def lost_energy(spectra: Mapping[str, Spectrum], ranks: Mapping[str, int]) -> float:
    """The share of the sum of squared singular values that is not kept."""
    whole = sum(float(spectrum.values.square().sum()) for spectrum in spectra.values())
    lost = sum(float(spectrum.values[ranks[layer] :].square().sum()) for layer, spectrum in spectra.items())
    return lost / whole if whole else 0.0
