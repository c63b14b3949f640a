"""Tasks for time series."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from raycollab.errors import DataError
from raycollab.models import Series
from raycollab.models.base import Model
from raycollab.tasks.classification import Classification
from raycollab.tasks.regression import Regression


@dataclass(frozen=True)
class SeriesClassification(Classification):
    """Classification of time series, the column "series" [n, t, channels]."""

    inputs: str | tuple[str, ...] = "series"

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from; bool [n].

        Raises: DataError also for what are no series, or none that the net can be given.
        """
        good = super().check(columns, where)
        check_series(self.net, self.inputs, self.inputs_of(columns), where)
        return good


@dataclass(frozen=True)
class SeriesRegression(Regression):
    """Regression on time series, the column "series" [n, t, channels]."""

    inputs: str | tuple[str, ...] = "series"

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from; bool [n].

        Raises: DataError also for what are no series, or none that the net can be given.
        """
        good = super().check(columns, where)
        check_series(self.net, self.inputs, self.inputs_of(columns), where)
        return good


def check_series(net: Model, inputs: str | tuple[str, ...], series: Tensor, where: str) -> None:
    """Raise DataError for what are no series [n, t, channels], or for those that a Series net cannot be given."""
    what = f"{where}: column {inputs!r} holds {str(series.dtype).removeprefix('torch.')} of shape {list(series.shape)}"
    if series.ndim != 3 or not series.is_floating_point():
        raise DataError(
            f"{what}; time series are floats [n, steps, channels]: read them with series={{{inputs!r}: "
            f"(STEPS, CHANNELS)}}, or shapes= if all have one length"
        )
    if not isinstance(net, Series):
        return
    if series.shape[2] != net.num_channels:
        raise DataError(f"{what}; the net takes {net.num_channels} channels: set Series.num_channels={series.shape[2]}")
    if series.shape[1] < net.shortest:
        raise DataError(
            f"{what}; {len(net.widths)} blocks need {net.shortest} steps at least: read longer windows, or take fewer "
            f"widths"
        )
