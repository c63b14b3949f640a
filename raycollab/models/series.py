"""A net for time series: convolutions over time, or a GRU."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.models.base import Model
from raycollab.settings import require

_KINDS = ("conv", "gru")


@dataclass(frozen=True)
class Series(Model):
    """Net for series of any length: convolutions over time, or a GRU.

    "conv" has a block a width: convolution, GroupNorm, ReLU, pooling of two steps to one; then mean and maximum over
    time. "gru" has a layer a width and takes the mean over time. Nothing in it keeps statistics of the data, which
    would differ from party to party.

    Args:
        num_outputs: Outputs.
        num_channels: Values a step.
        widths: Channels of each block, or of each layer of the GRU, where they are all the same.
        kind: "conv" or "gru".
        kernel: Steps that a convolution sees, an odd number.
        dropout: Share of what goes into the last layer that is left out in training, in [0, 1).
    Shapes: [b, t, num_channels] -> [b, num_outputs]; "conv" needs t >= 2 ** len(widths).
    """

    num_outputs: int
    num_channels: int
    widths: tuple[int, ...] = (32, 64, 128)
    kind: str = "conv"
    kernel: int = 7
    dropout: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        for name in ("num_outputs", "num_channels"):
            require(getattr(self, name) >= 1, f"Series.{name}", getattr(self, name), "must be >= 1")
        require(self.kind in _KINDS, "Series.kind", self.kind, f"must be one of {_KINDS}")
        good = bool(self.widths) and all(width >= 1 for width in self.widths)
        require(good, "Series.widths", self.widths, "must be widths >= 1, one a block")
        same = self.kind == "conv" or len(set(self.widths)) == 1
        require(same, "Series.widths", self.widths, "must all be the same for a GRU, such as (64, 64)")
        require(self.kernel >= 1 and self.kernel % 2 == 1, "Series.kernel", self.kernel, "must be an odd number >= 1")
        require(0 <= self.dropout < 1, "Series.dropout", self.dropout, "must be in [0, 1)")

    @property
    def shortest(self) -> int:
        """Steps that a series must have."""
        return 2 ** len(self.widths) if self.kind == "conv" else 1

    def build(self) -> nn.Module:
        """Make the module."""
        return _Convolutions(self) if self.kind == "conv" else _Recurrent(self)


class _Convolutions(nn.Module):
    def __init__(self, settings: Series):
        super().__init__()
        layers: list[nn.Module] = []
        before = settings.num_channels
        for after in settings.widths:
            layers.append(nn.Conv1d(before, after, settings.kernel, padding=settings.kernel // 2))
            layers += [nn.GroupNorm(1, after), nn.ReLU(), nn.MaxPool1d(2)]
            before = after
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(2 * before, settings.num_outputs)

    def forward(self, series: Tensor) -> Tensor:
        """Outputs [b, num_outputs] of series [b, t, c]."""
        seen = self.body(series.transpose(1, 2))  # [b, width, t / 2 ** blocks]
        return self.head(self.dropout(torch.cat([seen.mean(2), seen.amax(2)], 1)))


class _Recurrent(nn.Module):
    def __init__(self, settings: Series):
        super().__init__()
        width = settings.widths[0]
        self.body = nn.GRU(settings.num_channels, width, len(settings.widths), batch_first=True)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(width, settings.num_outputs)

    def forward(self, series: Tensor) -> Tensor:
        """Outputs [b, num_outputs] of series [b, t, c]."""
        seen, _ = self.body(series)  # [b, t, width]
        return self.head(self.dropout(seen.mean(1)))
