import math

import pytest
import torch

from raycollab.norms import l2_norm


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 3])
@pytest.mark.parametrize("scale", [1.0, 1e25, 1e-10])
def test_agrees_with_float64(size, scale):
    vector = torch.rand(size, generator=torch.Generator().manual_seed(0)) * scale
    assert l2_norm(vector) == pytest.approx(float(vector.double().norm()), rel=1e-5)


def test_a_sum_in_float32_would_not_count_the_last_of_many():
    """The known-bad input: of 2^24 equal squares float32 loses more than a ten-thousandth."""
    vector = torch.rand(2**24, generator=torch.Generator().manual_seed(0))
    exact = float(vector.double().norm())
    assert l2_norm(vector) == pytest.approx(exact, rel=1e-5)
    assert float(vector.norm()) != pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_said(bad):
    assert not math.isfinite(l2_norm(torch.tensor([1.0, bad])))


def test_what_is_too_small_to_square_in_float32():
    assert l2_norm(torch.full((100,), 1e-25)) == pytest.approx(1e-24)
    assert l2_norm(torch.zeros(3)) == 0.0
