import pytest
import torch

from raycollab.codecs import Sparse


def sparse(size, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    vector = torch.zeros(size)
    vector[torch.randperm(size, generator=generator)[:count]] = torch.randn(count, generator=generator)
    return vector


@pytest.mark.parametrize(
    ("count", "form", "num_bytes"),
    [
        (0, {"values", "places", "size"}, 8),
        (10, {"values", "places", "size"}, 10 * 8 + 8),
        (99, {"values", "places", "size"}, 99 * 8 + 8),  # below 3200 / 32 = 100 a place is shorter than the bits
        (100, {"values", "bits", "size"}, 100 * 4 + 400 + 8),
        (3000, {"values", "bits", "size"}, 3000 * 4 + 400 + 8),
        (3100, {"dense"}, 3200 * 4),  # 3100 * 4 + 400 would be as much
        (3200, {"dense"}, 3200 * 4),
    ],
)
def test_the_shortest_form_and_nothing_is_lost(count, form, num_bytes):
    vector = sparse(3200, count)
    arrays = Sparse().encode(vector, seed=0)
    assert set(arrays) == form
    assert sum(array.nbytes for array in arrays.values()) == num_bytes
    assert torch.equal(Sparse().decode(arrays), vector)


@pytest.mark.parametrize("size", [0, 1, 1001])
def test_vectors_of_any_length(size):
    for count in (0, size // 3, size):
        vector = sparse(size, count)
        assert torch.equal(Sparse().decode(Sparse().encode(vector, seed=0)), vector)


def test_a_zero_has_no_sign():
    """Masking a delta leaves -0.0 where it was negative: half of the elements would cross."""
    arrays = Sparse().encode(torch.full((1000,), -0.0), seed=0)
    assert len(arrays["values"]) == 0


def test_what_is_not_finite_crosses():
    vector = sparse(1000, 5)
    vector[3], vector[4] = float("nan"), float("inf")
    found = Sparse().decode(Sparse().encode(vector, seed=0))
    assert torch.equal(found.nan_to_num(7.0), vector.nan_to_num(7.0))
