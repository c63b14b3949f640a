import pytest
import torch

from raycollab.aggregation import Median, Rows
from raycollab.aggregation.rows import distances_to
from raycollab.errors import ConfigError

VECTORS = tuple(torch.randn(5, 1000, generator=torch.Generator().manual_seed(0)))
WHOLE = torch.stack(VECTORS)
each_chunk = pytest.mark.parametrize("chunk_bytes", [1, 4 * 5 * 7, 4 * 5 * 1000, 2**24])


@each_chunk
def test_slices_cover_every_column_once(chunk_bytes):
    rows = Rows(VECTORS, chunk_bytes)
    assert torch.equal(torch.cat([rows.columns(place) for place in rows.slices()], dim=1), WHOLE)
    assert max(rows.columns(place).nbytes for place in rows.slices()) <= max(chunk_bytes, 4 * 5)


@each_chunk
def test_chunks_are_only_a_matter_of_memory(chunk_bytes):
    """Tolerance: inner products of 1000 float32 elements, summed in another order."""
    rows, double = Rows(VECTORS, chunk_bytes), WHOLE.double()
    assert torch.equal(rows.by_column(lambda block: block.amax(0)), WHOLE.amax(0))
    torch.testing.assert_close(rows.gram(), double @ double.T, rtol=1e-4, atol=1e-3)
    origin = VECTORS[0]
    torch.testing.assert_close(
        rows.gram(origin), (double - origin.double()) @ (double - origin.double()).T, rtol=1e-4, atol=1e-3
    )
    torch.testing.assert_close(rows.squared_distances(), torch.cdist(double, double) ** 2, rtol=1e-4, atol=1e-3)


def test_what_rows_have_in_common_does_not_drown_their_distances():
    """Rows 1e-3 apart, a thousand away from zero: from plain inner products nothing would be left of 1e-6 * d."""
    far = Rows(tuple(1000 + row * 1e-3 for row in VECTORS))
    close = torch.cdist(WHOLE.double(), WHOLE.double()) ** 2 * 1e-6
    torch.testing.assert_close(far.squared_distances(), close, rtol=0.05, atol=1e-9)
    gram = far.gram()
    assert not torch.allclose(gram.diagonal()[:, None] + gram.diagonal() - 2 * gram, close, rtol=0.5, atol=1e-9)


@pytest.mark.parametrize("size", [1e6, 1e12, 1e34])
def test_long_rows_do_not_drown_the_others(size):
    """Two of five rows are long, also beyond what squares in float32 hold; seen from the mean nothing would be left."""
    rows = Rows((VECTORS[0], torch.full((1000,), size), *VECTORS[1:3], torch.full((1000,), -2 * size)))
    found, near = rows.squared_distances(), [0, 2, 3]
    torch.testing.assert_close(
        found[near][:, near], torch.cdist(WHOLE[:3].double(), WHOLE[:3].double()) ** 2, rtol=1e-4, atol=0.0
    )
    torch.testing.assert_close(found[1, 4], torch.tensor(9 * size**2 * 1000, dtype=torch.float64), rtol=1e-5, atol=0.0)
    assert torch.equal(found, found.T)
    assert torch.isfinite(rows.gram()).all()


def test_the_gram_is_centred_on_the_shorter_half_of_the_weight():
    """Of lengths 1 ... 4 the first two are seen from 1.5; with weights 1, 1, 2, 4 the half of 8 is 1 + 1 + 2: 2.25."""
    rows = Rows(tuple(torch.tensor([length]) for length in (4.0, 1.0, 3.0, 2.0)))
    assert rows.centred_gram().diagonal().tolist() == [6.25, 0.25, 2.25, 0.25]
    weighted = rows.centred_gram(torch.tensor([4.0, 1.0, 2.0, 1.0]))
    assert weighted.diagonal().tolist() == [1.75**2, 1.25**2, 0.75**2, 0.25**2]


def test_distances_to_a_mixture():
    shares = torch.tensor([0.2, 0.0, 0.5, 0.0, 0.0], dtype=torch.float64)
    rows, double = Rows(VECTORS), WHOLE.double()
    point = double[1] + shares @ (double - double[1])
    found = distances_to(shares, rows.gram(VECTORS[1]))
    torch.testing.assert_close(found, (double - point).norm(dim=1), rtol=1e-4, atol=1e-3)


def test_combine():
    shares = torch.tensor([0.5, 0.0, -1.0, 2.0, 0.0])
    torch.testing.assert_close(Rows(VECTORS).combine(shares), shares @ WHOLE)


def test_a_row_of_share_zero_is_not_read():
    rows = Rows((torch.full((3,), torch.nan), torch.ones(3)))
    assert rows.combine(torch.tensor([0.0, 2.0])).tolist() == [2.0, 2.0, 2.0]


def test_chunks_that_are_too_small_are_refused():
    with pytest.raises(ConfigError, match=r"Median.chunk_bytes=100: must be >= 4096"):
        Median(chunk_bytes=100)
