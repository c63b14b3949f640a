"""Seeds by address. The pinned values hold for ever: changing one changes the bits of every run."""

import numpy as np
import pytest
import torch

from raycollab.rng import derive_seed, numpy_generator


@pytest.mark.parametrize(
    ("address", "seed"),
    [
        ((0,), 3581690635855307741),
        ((0, "model"), 5232298418191868132),
        ((7, 3, "batches", "party-1", 0), 718745401201112580),
    ],
)
def test_pinned(address, seed):
    assert derive_seed(*address) == seed


def test_pinned_draw():
    assert numpy_generator(0, "selection", 1).integers(1000, size=4).tolist() == [319, 804, 278, 532]


def test_an_address_is_all_that_counts():
    forward = [derive_seed(1, "agent", name) for name in "abc"]
    torch.manual_seed(99)
    backward = [derive_seed(1, "agent", name) for name in "cba"]
    assert forward == backward[::-1]


def test_addresses_differ():
    addresses = [
        (0,),
        (1,),
        (0, 1),
        (0, "1"),
        (0, "a", "b"),
        (0, "ab"),
        (0, "b", "a"),
        (0, "a", 0),
        (0, 0, "a"),
        (0, ""),
    ]
    addresses += [(0, "a\x1fstr:b"), (0, "a\\x1fstr:b"), (0, "a\\", "b"), (0, "\ud800")]  # names hold any character
    assert len({derive_seed(*address) for address in addresses}) == len(addresses)


def test_whole_numbers_of_numpy_are_numbers():
    assert derive_seed(np.int64(3), np.int32(4)) == derive_seed(3, 4)


def test_torch_takes_every_seed():
    for index in range(100):
        seed = derive_seed(0, index)
        assert 0 <= seed < 2**63
        torch.Generator().manual_seed(seed)


def test_neighbours_share_no_bits():
    """Half of the 63 bits differ on average; 200 pairs give a standard error of 0.28 bits."""
    differing = [bin(derive_seed(0, i) ^ derive_seed(0, i + 1)).count("1") for i in range(200)]
    assert abs(sum(differing) / len(differing) - 31.5) < 1.5
