"""Nets for time series."""

import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.models import Series


@pytest.mark.parametrize("kind", ["conv", "gru"])
def test_any_length_will_do(kind):
    net = Series(5, 3, widths=(8, 8), kind=kind)
    module = net.build()
    for length in (net.shortest, 40):
        assert module(torch.randn(2, length, 3)).shape == (2, 5)


def test_nothing_of_the_data_is_kept():
    """Parties share no statistics of their data: there is no float buffer."""
    for kind in ("conv", "gru"):
        assert list(Series(5, 3, widths=(8, 8), kind=kind).build().buffers()) == []


def test_time_has_a_direction():
    """A series and its reverse differ for both kinds."""
    series = torch.randn(1, 32, 2, generator=torch.Generator().manual_seed(0))
    for kind in ("conv", "gru"):
        torch.manual_seed(0)
        module = Series(2, 2, widths=(8, 8), kind=kind).build()
        assert not torch.allclose(module(series), module(series.flip(1)), atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_channels": 0}, "Series.num_channels=0: must be >= 1"),
        ({"kind": "lstm"}, "Series.kind='lstm': must be one of"),
        ({"widths": ()}, r"Series.widths=\(\): must be widths >= 1"),
        ({"widths": (8, 16), "kind": "gru"}, r"Series.widths=\(8, 16\): must all be the same for a GRU"),
        ({"kernel": 4}, "Series.kernel=4: must be an odd number"),
        ({"dropout": 1.0}, r"Series.dropout=1.0: must be in \[0, 1\)"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        Series(**{"num_outputs": 2, "num_channels": 3, **settings})
