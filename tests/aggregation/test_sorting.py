import pytest
import torch

from raycollab.aggregation.sorting import comparators, sorted_rows

from .support import randn


@pytest.mark.parametrize("count", range(1, 65))
def test_agrees_with_torch(count):
    """All ranks, the middle, and what is left of both ends, with ties and infinities among the values."""
    block = randn(count, 40, seed=count)
    block[:, 20:] = block[:, 20:].round()
    block[0, 0], block[-1, 1] = torch.inf, -torch.inf
    expected = block.sort(dim=0).values
    middle = range((count - 1) // 2, count // 2 + 1)
    for keep in (range(count), middle, range(count // 4, count - count // 4), range(1), range(count - 1, count)):
        found = sorted_rows(block.clone(), keep)
        assert torch.equal(torch.stack(found), expected[keep.start : keep.stop]), keep


@pytest.mark.parametrize("count", range(1, 13))
def test_the_network_sorts_all_zeros_and_ones_and_so_everything(count):
    """The zero-one principle, Knuth volume 3, section 5.3.4, theorem Z."""
    columns = torch.arange(2**count)
    block = torch.stack([(columns >> place & 1).float() for place in range(count)])
    expected = block.sort(dim=0).values
    assert torch.equal(torch.stack(sorted_rows(block, range(count))), expected)


def test_four_by_hand():
    """Knuth's figure: (0,2) (1,3), then (0,1) (2,3), then (1,2); the smallest needs no (1,3), (2,3) or (1,2)."""
    assert comparators(4, range(4)) == ((0, 2), (1, 3), (0, 1), (2, 3), (1, 2))
    assert comparators(4, range(1)) == ((0, 2), (1, 3), (0, 1))
    assert comparators(1, range(1)) == ()


def test_fewer_ranks_take_fewer_comparators():
    assert len(comparators(50, range(24, 26))) < len(comparators(50, range(5, 45))) < len(comparators(50, range(50)))
