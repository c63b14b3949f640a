"""Time series, and what is said of those that the net cannot be given."""

import pytest
import torch

from raycollab.errors import DataError
from raycollab.models import MLP, Series
from raycollab.tasks import SeriesClassification, SeriesRegression

NET = Series(2, num_channels=3, widths=(4, 4))


def tasks(net=NET):
    return [SeriesClassification(net, num_classes=2), SeriesRegression(net)]


def held(series):
    return {"series": series, "label": torch.zeros(len(series), dtype=torch.int64)}


def test_series_that_fit():
    for task in tasks():
        assert task.check(held(torch.zeros(5, 4, 3)), "here").all()
    one = SeriesRegression(Series(1, 3, widths=(4,)))
    assert one.statistics(one.model(), held(torch.randn(5, 8, 3))).compute()["rmse"] > 0


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (
            torch.zeros(5, 12),
            r"'series' holds float32 of shape \[5, 12\]; time series are floats \[n, steps, channels\]",
        ),
        (torch.zeros(5, 4, 3, dtype=torch.uint8), r"'series' holds uint8 of shape \[5, 4, 3\]; time series are floats"),
        (torch.zeros(5, 4, 2), "the net takes 3 channels: set Series.num_channels=2"),
        (torch.zeros(5, 3, 3), "2 blocks need 4 steps at least: read longer windows, or take fewer"),
    ],
)
def test_series_that_do_not(series, message):
    for task in tasks():
        with pytest.raises(DataError, match=f"north: column .*{message}"):
            task.check(held(series), "north")


def test_of_other_nets_nothing_is_known():
    assert tasks(MLP(6, 2))[0].check(held(torch.zeros(5, 3, 2)), "here").all()
