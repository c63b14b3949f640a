import resource

import pytest
import torch

from raycollab import vectors
from raycollab.vectors import SLICE, Memory, by_slices, plus, zeros

SIZE = 2**23  # elements: 32 MiB


def test_it_is_used_again_once_nobody_holds_it():
    made = Memory()
    first = made.empty(SIZE)
    place = first.data_ptr()
    assert (first.shape, first.dtype) == ((SIZE,), torch.float32)
    del first
    assert made.empty(SIZE).data_ptr() == place


def test_nothing_that_is_held_is_given_away():
    """Held as a tensor, a view of it, a numpy array, or a view of that."""
    for held in (
        lambda v: v,
        lambda v: v[5:6],
        lambda v: v.numpy(),
        lambda v: v.numpy()[3:4],
        lambda v: v.view(2, -1).T,
    ):
        made = Memory()
        holder = held(made.empty(SIZE).fill_(1.0))
        others = [made.empty(SIZE).zero_() for _ in range(3)]
        assert float(holder.sum()) in (1.0, SIZE)
        assert len({other.data_ptr() for other in others}) == 3


def test_small_vectors_and_a_torch_without_counts_take_fresh_memory(monkeypatch):
    made = Memory()
    assert made.empty(10).shape == (10,)
    monkeypatch.setattr(vectors, "_holders_of", None)
    assert made.empty(SIZE).shape == (SIZE,)
    assert made._storages == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_zeros_are_zeros_and_can_be_written(dtype):
    for size in (3, SIZE):
        made = zeros(size, torch.ones(1, dtype=dtype))
        assert (made.shape, made.dtype, made.count_nonzero().item()) == ((size,), dtype, 0)
        made.add_(1)
        assert made.sum(dtype=torch.float64).item() == size


def test_zeros_that_nobody_writes_to_take_no_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    held = zeros(100 * SIZE, torch.ones(1))  # 3.1 GiB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18
    assert held[5].item() == 0


def test_what_nobody_needs_any_more_is_given_back():
    made = Memory()
    held = [made.empty(SIZE + index) for index in range(12)]
    del held
    made.empty(SIZE + 100)
    assert len(made._storages) <= vectors._SPARE + 1


def test_slices_cover_everything_once_whatever_the_cores(monkeypatch):
    for cores in (1, 2, 3):
        monkeypatch.setattr(vectors, "_cores", cores)
        for size in (0, 1, SLICE, 5 * SLICE + 3, 9 * SLICE):
            seen = torch.zeros(size)
            by_slices(size, lambda place, seen=seen: seen[place].add_(1))
            assert bool((seen == 1).all())


def test_what_fails_in_a_slice_is_raised():
    for size in (10, 9 * SLICE):
        with pytest.raises(ZeroDivisionError):
            by_slices(size, lambda place: 1 / 0)


def test_plus():
    vector, change = torch.randn(9 * SLICE + 1), torch.randn(9 * SLICE + 1)
    assert torch.equal(plus(vector, change), vector + change)
