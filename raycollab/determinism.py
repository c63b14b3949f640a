"""What a computation depends on beside its arguments, set for as long as it lasts."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Draw torch's random numbers from this seed, and leave the process's own stream on the CPU as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed also formats a stack trace per kind of device
        if device != "cpu":
            torch.cuda.manual_seed(seed)
        yield


@contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """Compute with this many threads, whatever the process had: their number can change the last bits of a result."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
