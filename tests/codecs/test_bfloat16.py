import numpy as np
import pytest
import torch

from raycollab.codecs import BFloat16


def crossed(vector):
    codec = BFloat16()
    return codec.decode(codec.encode(vector, seed=0))


def test_ties_go_to_even_by_hand():
    """Seven bits follow the leading one, so steps are 2^-7 above 1; ties at half a step go to the even neighbour."""
    step = 2.0**-7
    given = torch.tensor([1.0, 1 + step / 2, 1 + 3 * step / 2, 1 + step / 2 + 2.0**-20, -1 - step / 2, 0.0])
    assert crossed(given).tolist() == [1.0, 1.0, 1 + 2 * step, 1 + step, -1.0, 0.0]


def test_two_bytes_an_element_on_the_wire():
    (upper,) = BFloat16().encode(torch.randn(1000), seed=0).values()
    assert (upper.dtype, upper.nbytes) == (np.uint16, 2000)


def test_the_error_is_at_most_two_to_the_minus_eight_at_any_size():
    vector = torch.randn(10_000) * 10.0 ** torch.randint(-30, 30, (10_000,))
    assert float(((crossed(vector) - vector) / vector).abs().max()) <= 2.0**-8


def test_what_has_eight_bits_is_exact():
    vector = torch.arange(-256.0, 257.0)
    assert torch.equal(crossed(vector), vector)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so(value):
    assert crossed(torch.tensor([value, 1.0])).tolist() == pytest.approx([value, 1.0], nan_ok=True)
