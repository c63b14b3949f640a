"""What regression is measured by."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics

from raycollab.errors import ConfigError, DataError
from raycollab.metrics import Residuals, Statistics


def test_by_hand():
    """Errors 1, 0, -2 of targets 1, 2, 3, whose deviations from 2 square to 2: r2 is 1 - 5 / 2."""
    found = Residuals.of(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 1.0])).compute()
    assert found == pytest.approx({"mse": 5 / 3, "rmse": math.sqrt(5 / 3), "mae": 1.0, "r2": -1.5})


@pytest.mark.parametrize("shape", [(40,), (40, 3)])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_any_grouping_agrees_with_scikit_learn(shape, shift):
    """Also where targets are a million times as large as they vary: a sum of squares would have lost that."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(shape, generator=generator, dtype=torch.float64) + shift
    predictions = targets + 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    parts = [
        Residuals.of(t, p) for t, p in zip(targets.split([1, 24, 15]), predictions.split([1, 24, 15]), strict=True)
    ]
    pairs = (parts[0] + (parts[1] + parts[2]), (parts[2] + parts[0]) + parts[1], Residuals.of(targets, predictions))
    for whole in pairs:
        found = whole.compute()
        assert found["mse"] == pytest.approx(metrics.mean_squared_error(targets, predictions))
        assert found["rmse"] == pytest.approx(math.sqrt(metrics.mean_squared_error(targets, predictions)))
        assert found["mae"] == pytest.approx(metrics.mean_absolute_error(targets, predictions))
        assert found["r2"] == pytest.approx(metrics.r2_score(targets, predictions))
    assert parts[0] + parts[1] == parts[1] + parts[0]


def test_nothing_is_neutral_and_has_no_metrics():
    empty = Residuals.of(torch.zeros(0), torch.zeros(0))
    some = Residuals.of(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
    assert empty + some == some + empty == some
    assert all(math.isnan(value) for value in (empty + empty).compute().values())


def test_targets_that_do_not_vary_explain_nothing():
    assert math.isnan(Residuals.of(torch.ones(3), torch.zeros(3)).compute()["r2"])


def test_it_travels_as_plain_data():
    some = Statistics.of({"residuals": Residuals.of(torch.randn(5, 2), torch.randn(5, 2))})
    assert Statistics.from_plain(some.to_plain()) == some


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match=r"targets \[3\], predictions \[3, 1\]: must be of one shape"):
        Residuals.of(torch.zeros(3), torch.zeros(3, 1))
    with pytest.raises(ConfigError, match="num_outputs=1 and 2"):
        Residuals.of(torch.zeros(3), torch.zeros(3)) + Residuals.of(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(DataError, match=r"Residuals of shapes .* must all be"):
        Residuals(1, np.zeros(2), np.zeros(1), np.zeros(2), np.zeros(2))
    with pytest.raises(DataError, match=r"Residuals.count=-1: must be >= 0"):
        Residuals(-1, np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1))
