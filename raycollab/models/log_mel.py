"""An audio front end: waveforms to log-mel spectrograms, in torch."""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.errors import ConfigError
from raycollab.models.base import Model
from raycollab.settings import require

_FLOOR = 1e-4  # added to the power before its logarithm: silence is a number, and not far below a whisper


@dataclass(frozen=True)
class LogMel(Model):
    """Log-mel spectrogram of a waveform, an image of one channel for any net behind it. Nothing is trained.

    Mel bands are HTK's triangles, mel = 2595 log10(1 + f / 700), over the power of Hann windows.

    Args:
        rate: Samples a second of the waveforms.
        mels: Bands.
        window_s: Length of a window, in seconds.
        hop_s: From one window's begin to the next one's, in seconds.
        low_hz: Where the lowest band begins.
        high_hz: Where the highest band ends; None is half the rate.
        normalize: Bring each spectrogram to mean 0 and deviation 1, so that how loud a party records does not matter.
    Shapes: [b, t] in -1..1 -> [b, 1, mels, frames]; frames = t // round(hop_s * rate).
    Raises: ConfigError if a band is too narrow for the window to see it.
    """

    rate: int
    mels: int = 64
    window_s: float = 0.05
    hop_s: float = 0.0125
    low_hz: float = 0.0
    high_hz: float | None = None
    normalize: bool = True

    def __post_init__(self) -> None:
        require(self.rate >= 1, "LogMel.rate", self.rate, "must be >= 1: samples a second")
        require(self.mels >= 1, "LogMel.mels", self.mels, "must be >= 1")
        for name, samples in (("hop_s", self.hop), ("window_s", self.window)):
            accepted = f"must hold a sample at least, 1 / {self.rate} s"
            require(samples >= 1, f"LogMel.{name}", getattr(self, name), accepted)
        accepted = f"must be >= hop_s={self.hop_s}, or samples between windows are not heard"
        require(self.window >= self.hop, "LogMel.window_s", self.window_s, accepted)
        accepted = f"must be in [0, {self._high}), where the highest band ends"
        require(0 <= self.low_hz < self._high, "LogMel.low_hz", self.low_hz, accepted)
        require(self._high <= self.rate / 2, "LogMel.high_hz", self.high_hz, f"must be <= {self.rate / 2}, half rate")
        empty = (self.filters() > 0).sum(1).eq(0)
        if bool(empty.any()):
            raise ConfigError(
                f"LogMel.mels={self.mels}: {int(empty.sum())} bands lie between two frequencies of a window of "
                f"{self.window_s} s; take fewer bands or a longer window"
            )

    @property
    def hop(self) -> int:
        """Samples from one window's begin to the next one's."""
        return round(self.hop_s * self.rate)

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.window_s * self.rate)

    @property
    def num_points(self) -> int:
        """Points of the Fourier transform: the next power of two."""
        return 1 << max(0, self.window - 1).bit_length()

    @property
    def _high(self) -> float:
        return self.rate / 2 if self.high_hz is None else self.high_hz

    def filters(self) -> Tensor:
        """How much of each frequency is in each band [mels, num_points / 2 + 1]."""
        bounds = torch.linspace(_mel(self.low_hz), _mel(self._high), self.mels + 2, dtype=torch.float64)
        edges = 700 * (10 ** (bounds / 2595) - 1)
        low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        frequencies = torch.arange(self.num_points // 2 + 1, dtype=torch.float64) * self.rate / self.num_points
        rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
        return torch.minimum(rising, falling).clamp(min=0).float()

    def build(self) -> nn.Module:
        """Make the module."""
        return _LogMel(self)

    def narrowed(self, width: float) -> Self:
        """As it is: it has no layers."""
        del width
        return self


def _mel(frequency: float) -> float:
    return 2595 * math.log10(1 + frequency / 700)


class _LogMel(nn.Module):
    window: Tensor
    filters: Tensor

    def __init__(self, settings: LogMel):
        super().__init__()
        self._settings = settings
        self.register_buffer("window", torch.hann_window(settings.window), persistent=False)
        self.register_buffer("filters", settings.filters(), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Spectrograms [b, 1, mels, frames] of waveforms [b, t]."""
        settings = self._settings
        around = settings.window - settings.hop
        with torch.autocast(waves.device.type, enabled=False):  # a spectrum in bfloat16 is noise
            padded = functional.pad(waves.float(), (around // 2, around - around // 2))
            windows = padded.unfold(1, settings.window, settings.hop) * self.window  # [b, frames, window]
            power = torch.fft.rfft(windows, n=settings.num_points).abs().square()
            bands = (power @ self.filters.T + _FLOOR).log().transpose(1, 2)  # [b, mels, frames]
            if settings.normalize:
                mean, std = bands.mean((1, 2), keepdim=True), bands.std((1, 2), keepdim=True, correction=0)
                bands = (bands - mean) / std.clamp(min=1e-3)
        return bands.unsqueeze(1)
