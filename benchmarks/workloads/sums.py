"""The sum alone: weighted mean of large vectors, beside how fast this machine reads them. It imports torch only."""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from json import dumps
from pathlib import Path

import torch
from torch import Tensor

NUM_VECTORS = 8
NUM_PARAMS = 100_000_000
THREADS = 2
REPEATS = 7


def measure(prepare: Callable[[Sequence[Tensor], Sequence[float]], Callable[[], Tensor]], *packages: str) -> None:
    """Time a way of adding, alternating with the machine's limit, and write its line.

    The limit is the rate at which the same threads read the same vectors (torch's sum of each): a mean has to read them
    at least once.

    Args:
        prepare: Given vectors and weights, returns the call that makes the weighted mean; what it makes before is not
            timed.
        packages: Whose versions to write down.
    """
    arguments = _arguments()
    torch.set_num_threads(THREADS)
    size = 10_000 if arguments.tiny else NUM_PARAMS
    generator = torch.Generator().manual_seed(0)
    vectors = [torch.rand(size, generator=generator) for _ in range(NUM_VECTORS)]
    weights = [float(50 + index) for index in range(NUM_VECTORS)]
    add = prepare(vectors, weights)
    check(add(), vectors, weights)
    pairs = [(_seconds(lambda: [vector.sum() for vector in vectors]), _seconds(add)) for _ in range(REPEATS)]
    limits, times = zip(*pairs, strict=True)
    gigabytes = NUM_VECTORS * 4 * size / 1e9
    line = {
        "vectors": NUM_VECTORS,
        "params": size,
        "threads": THREADS,
        "seconds": round(statistics.median(times), 4),
        "gb_a_second": round(gigabytes / statistics.median(times), 2),
        "limit_gb_a_second": round(gigabytes / statistics.median(limits), 2),
        "share_of_limit": round(statistics.median(limit / own for limit, own in pairs), 3),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
    }
    Path(arguments.folder, "outcome.json").write_text(dumps(line))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", nargs="?")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--folder", required=True, help="where outcome.json is written")
    return parser.parse_args()


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def check(mean: Tensor, vectors: Sequence[Tensor], weights: Sequence[float]) -> None:
    """Refuse a mean that is none: a way that leaves something out is fast.

    Raises: SystemExit if elements differ from the weighted mean by more than rounding.
    """
    some = slice(None, None, max(1, len(vectors[0]) // 1000))
    exact = sum(weight * vector[some].double() for weight, vector in zip(weights, vectors, strict=True)) / sum(weights)
    error = (mean[some].double() - exact).abs().max().item()
    if not error < 1e-5:
        raise SystemExit(f"the mean is off by {error:.3g}: whatever is measured here is not the weighted mean")
