"""Classification of sound."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from raycollab.errors import DataError
from raycollab.tasks.classification import Classification


@dataclass(frozen=True)
class AudioClassification(Classification):
    """Classification of waveforms, the column "wav" [n, t], by a net that hears: `Sequential((LogMel(8000), CNN(10)))`.

    Sources decode files with `audio: {wav: [8000, 1.0]}`.
    """

    inputs: str | tuple[str, ...] = "wav"

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from; bool [n].

        Raises: DataError also for what is no waveform.
        """
        good = super().check(columns, where)
        waves = self.inputs_of(columns)
        if waves.ndim != 2 or not waves.is_floating_point():
            kind = str(waves.dtype).removeprefix("torch.")
            raise DataError(
                f"{where}: column {self.inputs!r} holds {kind} of shape {list(waves.shape)}; waveforms are floats "
                f"[n, samples]: read WAV files with audio={{{self.inputs!r}: (RATE, SECONDS)}}"
            )
        return good
