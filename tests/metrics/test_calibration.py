"""The expected calibration error agrees with its definition."""

import numpy as np
import pytest
import torch

from raycollab.errors import ConfigError, DataError
from raycollab.metrics import CalibrationBins

from .support import draw


def test_calibration_by_hand():
    """Two bins, (0, 0.5] and (0.5, 1]; all confidences are multiples of 1/8, so nothing is rounded.

    First bin: 0.25 wrong, 0.5 right: |1 - 0.75| = 0.25. Second: 0.75 right, 1.0 wrong: |1 - 1.75| = 0.75.
    ECE (0.25 + 0.75) / 4.
    """
    correct = torch.tensor([False, True, True, False])
    bins = CalibrationBins.of(torch.tensor([0.25, 0.5, 0.75, 1.0]), correct, num_bins=2)
    assert bins.counts.tolist() == [2, 2]
    assert bins.compute() == {"ece": 0.25}


@pytest.mark.parametrize("num_bins", [1, 7, 15])
def test_calibration_agrees_with_the_definition(num_bins):
    """Equation 3 of Guo et al. in float64; 1e-9 is the documented rounding of the confidences."""
    data = draw(3)
    confidence, correct = data["confidence"].double().numpy(), data["binary"].numpy()
    place = np.ceil(confidence * num_bins)
    expected = sum(abs((correct - confidence)[place == b].sum()) for b in range(num_bins + 1)) / len(confidence)
    bins = CalibrationBins.of(data["confidence"], data["binary"], num_bins)
    assert bins.compute() == pytest.approx({"ece": expected}, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: CalibrationBins.of(torch.tensor([1.5]), torch.tensor([1])), DataError, r"confidence\[0\]=1\.5"),
        (lambda: CalibrationBins.of(torch.tensor([0.5]), torch.tensor([1]), 0), ConfigError, "num_bins=0"),
        (lambda: CalibrationBins(np.array([1]), np.array([2]), np.array([0])), DataError, "at most counts"),
        (lambda: CalibrationBins(np.array([]), np.array([]), np.array([])), DataError, "0 bins"),
    ],
)
def test_bad_input_is_named(call, error, message):
    """What was set, its value, and what is accepted."""
    with pytest.raises(error, match=message):
        call()
