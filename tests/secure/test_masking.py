"""Masks cancel to the bit, and what they leave looks random."""

import os

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from raycollab.secure.masking import _PIECE, add_masks
from raycollab.secure.residues import HEAD_MODULUS, Residues

BITS = {32: torch.int32, 64: torch.int64}
each_width = pytest.mark.parametrize("bits", BITS)


def zeros(size, bits):
    return Residues(torch.zeros(size, dtype=BITS[bits]), (0, 0, 0))


def chi_squared(body, bits):
    """Pearson's statistic of each of 256 cells, by the highest eight bits and by the lowest: 255 degrees of freedom."""
    unsigned = body.unsigned
    found = []
    for shift in (bits - 8, 0):
        counts = np.bincount(((unsigned >> shift) & 255).astype(np.int64), minlength=256)
        expected = len(unsigned) / 256
        found.append(float(((counts - expected) ** 2 / expected).sum()))
    return found


@each_width
@pytest.mark.parametrize("size", [1, _PIECE // 4 - 1, _PIECE // 4, _PIECE // 2 + 3])
def test_a_mask_taken_off_again_leaves_every_bit(size, bits):
    residues = Residues(torch.randint(-(2**31), 2**31 - 1, (size,)).to(BITS[bits]), (1, 2**127, HEAD_MODULUS - 1))
    before, seeds = residues.own(), [os.urandom(32) for _ in range(3)]
    add_masks(residues, [(seed, 1) for seed in seeds])
    assert not torch.equal(residues.body, before.body) or size == 1
    for seed in reversed(seeds):
        add_masks(residues, [(seed, -1)])
    assert torch.equal(residues.body, before.body)
    assert residues.head == before.head


@each_width
def test_it_is_aes_in_counter_mode(bits):
    """The head's stream comes first, then the body's, as one stream that is nowhere used twice."""
    residues = zeros(_PIECE // 4 + 5, bits)
    add_masks(residues, [(b"s" * 32, 1)])
    length = 3 * 16 + residues.body.numel() * bits // 8
    stream = Cipher(algorithms.AES(b"s" * 32), modes.CTR(bytes(16))).encryptor().update(bytes(length))
    assert b"".join(value.to_bytes(16, "little") for value in residues.head) == stream[:48]
    assert residues.unsigned.tobytes() == stream[48:]


@each_width
def test_masked_numbers_are_uniform(bits):
    """Chi-squared over 256 cells stays below its 99.99 % quantile; of the same numbers unmasked it is a million.

    The quantile of 255 degrees of freedom is 347.7.
    """
    residues = Residues((torch.randn(2**18) * 1000).to(BITS[bits]), (0, 0, 0))
    assert min(chi_squared(residues, bits)[:1]) > 1e6
    add_masks(residues, [(os.urandom(32), 1)])
    assert max(chi_squared(residues, bits)) < 347.7
