"""Noise that only who has the key can foretell.

Noise from the run's seed hides nothing from who takes part: whoever knows the seed draws the same, and takes it off
again. So a party keeps a key of its own in a file, and its noise is a pseudo-random function of the key and of what the
noise is for. The same numbers get the same noise, so a round that is redone, or a run that is resumed, tells nothing
new; other numbers, or noise of another size, get other noise, so nothing can be learned from a difference.
"""

import hashlib
import math
import stat
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raycollab.errors import ConfigError

_LEAST_BYTES = 32
_MAKE = "make one with `(umask 077; head -c 32 /dev/urandom > FILE)`"
Address = int | str | Tensor


class Noise:
    """A stream of random numbers for each address.

    Keyed BLAKE2b of the address, expanded by SHAKE-256: unlike the state of torch's own generator, the key cannot be
    worked out from numbers that were drawn, such as the noise on a parameter without a gradient.

    Args:
        key: Bytes that others do not know; `read_key` reads them. Empty ones are for simulations: anybody who knows
            the addresses, which hold the run's seed, draws the same.
    """

    def __init__(self, key: bytes):
        self._key = hashlib.blake2b(key).digest()

    def normal(self, size: int, deviation: float, *address: Address) -> Tensor:
        """Independent normal numbers, float64 [size] on the CPU.

        Another deviation gets other numbers: what is told with the same ones, larger, has no noise in the difference.

        Args:
            size: How many.
            deviation: Standard deviation.
            address: What they are for, and what they hide.
        Source: Box and Muller, 1958; from 53 bits each, so that they reach 8.5 standard deviations.
        """
        pairs = -(-size // 2)
        bits = self._words(2 * pairs, np.uint64, repr(float(deviation)), *address) >> np.uint64(11)
        words = torch.from_numpy(bits.astype(np.float64))
        radius = words[:pairs].add_(1.0).mul_(2.0**-53).log_().mul_(-2.0).sqrt_().mul_(deviation)
        angle = words[pairs:].mul_(2 * math.pi * 2.0**-53)
        return torch.cat([radius * angle.cos(), radius * angle.sin()])[:size]

    def sample(self, size: int, rate: float, *address: Address) -> Tensor:
        """A Poisson sample: the places of 0 .. size - 1, each with this probability, int64 in order."""
        words = self._words(size, np.uint32, repr(float(rate)), *address)
        return torch.from_numpy(np.flatnonzero(words < math.floor(rate * 2.0**32)))

    def _words(self, count: int, kind: type, *address: Address) -> np.ndarray:
        seed = hashlib.blake2b("\x1f".join(map(_text, address)).encode(errors="surrogatepass"), key=self._key).digest()
        return np.frombuffer(hashlib.shake_256(seed).digest(count * np.dtype(kind).itemsize), dtype=kind)


def read_key(path: str, setting: str) -> bytes:
    """The bytes of a key file; none for an empty path.

    Args:
        path: The file, on the node where the noise is drawn.
        setting: Where the path was set, for errors.
    Raises: ConfigError if it is not there, is too short, or can be read by others.
    """
    if not path:
        return b""
    place = Path(path).expanduser()
    try:
        mode = stat.S_IMODE(place.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"{setting}={path!r}: can be read by others (mode {mode:04o}): run `chmod 600 {path}`; if anybody may "
                f"have read it, make a new one"
            )
        key = place.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{setting}={path!r}: cannot be read: {error}; it must be on the node that draws the noise: {_MAKE}"
        ) from error
    if len(key) < _LEAST_BYTES:
        raise ConfigError(f"{setting}={path!r}: holds {len(key)} bytes, and needs {_LEAST_BYTES} random ones: {_MAKE}")
    return key


def _text(part: Address) -> str:
    """A part of an address, so that no two addresses are the same text."""
    if isinstance(part, Tensor):
        return f"tensor:{hashlib.blake2b(part.detach().cpu().contiguous().numpy().tobytes()).hexdigest()}"
    return f"str:{part.encode(errors='surrogatepass').hex()}" if isinstance(part, str) else f"int:{part}"
