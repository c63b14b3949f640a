import pytest
import torch

from raycollab.aggregation import Median, Rows
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


def test_combine():
    shares = torch.tensor([0.5, 0.0, -1.0, 2.0, 0.0])
    torch.testing.assert_close(Rows(VECTORS).combine(shares), shares @ WHOLE)


def test_a_row_of_share_zero_is_not_read():
    rows = Rows((torch.full((3,), torch.nan), torch.ones(3)))
    assert rows.combine(torch.tensor([0.0, 2.0])).tolist() == [2.0, 2.0, 2.0]


def test_chunks_that_are_too_small_are_refused():
    with pytest.raises(ConfigError, match=r"Median.chunk_bytes=100: must be >= 4096"):
        Median(chunk_bytes=100)
