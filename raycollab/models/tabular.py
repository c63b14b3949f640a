"""A net for rows of a table: numbers, and names by their numbers."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.models.base import Model
from raycollab.settings import require

_TRUNKS = ("mlp", "residual")


@dataclass(frozen=True)
class Tabular(Model):
    """Standardised numbers beside an embedding of each name, then a multilayer perceptron.

    Given `mean` and `deviation`, all parties standardise alike, and a difference between parties stays a difference:
    right whenever they are known, as from `raycollab data check`. Without them BatchNorm learns them: in training each
    party standardises by its own batches, so that parties whose columns are shifted against each other look alike, and
    the model that is evaluated standardises by the parties' running statistics, averaged by weight. That is right
    where a shift says nothing, such as another unit, and where parties differ little.

    Args:
        num_outputs: Outputs.
        numbers: How many numbers a row has, >= 0: its first entries.
        categories: How many names each column of names has: the entries after the numbers, from 0.
        mean: Of each number.
        deviation: Of each number, > 0.
        hidden: Widths; for "residual" they are all the same, a block each.
        trunk: "mlp" or "residual", whose blocks are x + linear(relu(linear(layernorm(x)))).
        embedding: Width of an embedding, at most half the number of names.
        dropout: Share of each hidden layer that is left out in training, in [0, 1).
    Shapes: [b, numbers + len(categories)] -> [b, num_outputs].
    """

    num_outputs: int
    numbers: int
    categories: tuple[int, ...] = ()
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    hidden: tuple[int, ...] = (64, 64)
    trunk: str = "mlp"
    embedding: int = 8
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("categories", "hidden", "mean", "deviation"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("num_outputs", "embedding"):
            require(getattr(self, name) >= 1, f"Tabular.{name}", getattr(self, name), "must be >= 1")
        require(self.numbers >= 0, "Tabular.numbers", self.numbers, "must be >= 0")
        require(self.num_inputs >= 1, "Tabular.numbers", self.numbers, "must be >= 1 where there are no categories")
        some = all(count >= 1 for count in self.categories)
        require(some, "Tabular.categories", self.categories, "must be numbers of names >= 1, one a column")
        require(self.trunk in _TRUNKS, "Tabular.trunk", self.trunk, f"must be one of {_TRUNKS}")
        good = bool(self.hidden) and all(width >= 1 for width in self.hidden)
        require(good, "Tabular.hidden", self.hidden, "must be widths >= 1, one a layer")
        same = self.trunk == "mlp" or len(set(self.hidden)) == 1
        require(same, "Tabular.hidden", self.hidden, "must all be the same for residual blocks, such as (64, 64)")
        require(0 <= self.dropout < 1, "Tabular.dropout", self.dropout, "must be in [0, 1)")
        self._check_statistics()

    def _check_statistics(self) -> None:
        both = (self.mean is None) == (self.deviation is None)
        require(both, "Tabular.mean", self.mean, f"must be given together with deviation, which is {self.deviation}")
        for name in ("mean", "deviation"):
            held = getattr(self, name)
            accepted = f"must hold a value for each of the {self.numbers} numbers"
            require(held is None or len(held) == self.numbers, f"Tabular.{name}", held, accepted)
        require(min(self.deviation or (1.0,)) > 0, "Tabular.deviation", self.deviation, "must be > 0")

    @property
    def num_inputs(self) -> int:
        """Entries of a row."""
        return self.numbers + len(self.categories)

    def build(self) -> nn.Module:
        """Make the module."""
        return _Tabular(self)


class _Tabular(nn.Module):
    def __init__(self, settings: Tabular):
        super().__init__()
        self._numbers = settings.numbers
        self.standard = _standard(settings)
        widths = [min(settings.embedding, (count + 1) // 2) for count in settings.categories]
        self.embeddings = nn.ModuleList(map(nn.Embedding, settings.categories, widths))
        num_features = settings.numbers + sum(widths)
        layers = _plain if settings.trunk == "mlp" else _residual
        self.trunk = nn.Sequential(*layers(num_features, settings.hidden, settings.dropout))
        self.head = nn.Linear(settings.hidden[-1], settings.num_outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs [b, num_outputs] of rows [b, numbers + names]."""
        codes = rows[:, self._numbers :].long()
        named = [embed(codes[:, place]) for place, embed in enumerate(self.embeddings)]
        return self.head(self.trunk(torch.cat([self.standard(rows[:, : self._numbers]), *named], 1)))


def _standard(settings: Tabular) -> nn.Module:
    if not settings.numbers:
        return nn.Identity()
    if settings.mean is None or settings.deviation is None:
        return _Learnt(settings.numbers, affine=False)
    return _Given(torch.tensor(settings.mean), torch.tensor(settings.deviation))


class _Given(nn.Module):
    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor):
        super().__init__()
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        return (numbers - self.mean) / self.deviation


class _Learnt(nn.BatchNorm1d):
    def forward(self, numbers: Tensor) -> Tensor:
        if self.training and len(numbers) == 1:  # a last batch of one row has no deviation
            return functional.batch_norm(numbers, self.running_mean, self.running_var, eps=self.eps)
        return super().forward(numbers)


def _plain(num_features: int, hidden: tuple[int, ...], dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise((num_features, *hidden)):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return layers


def _residual(num_features: int, hidden: tuple[int, ...], dropout: float) -> list[nn.Module]:
    blocks = [_Residual(width, dropout) for width in hidden]
    return [nn.Linear(num_features, hidden[0]), *blocks, nn.LayerNorm(hidden[-1]), nn.ReLU()]


class _Residual(nn.Module):
    def __init__(self, width: int, dropout: float):
        super().__init__()
        inner = (nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
        self.inner = nn.Sequential(nn.LayerNorm(width), *inner)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.inner(features)
