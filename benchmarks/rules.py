"""Rules for merging, against the time that it takes to read the updates ten times: one JSON line a rule.

    python -m benchmarks.rules --agents 50 --params 10_000_000 --threads 2

Reading is summing every row; each ratio is a rule's seconds, from the updates to the merged one, over ten times those.
Both are the best of the repeats, because other processes only ever add time. Extra memory is the process's peak above
what it held before, from the kernel (VmHWM, reset before each rule; Linux only): the result [d] counts as well.
"""

import argparse
import ctypes
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch

import raycollab as rc
from raycollab.aggregation import add_up

READINGS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--params", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    updates, params = some_updates(arguments.agents, arguments.params), torch.zeros(arguments.params)
    for rule in rules(arguments.agents):
        merge = merging(rule, updates, params)
        read, seconds = best_seconds(
            lambda: [update.vectors["delta"].sum() for update in updates], merge, arguments.repeats
        )
        line = {
            "rule": repr(rule),
            "seconds": round(seconds, 4),
            "seconds_of_reading_ten_times": round(READINGS * read, 4),
            "ratio": round(seconds / (READINGS * read), 2),
            "extra_peak_mb": extra_peak_mb(merge),
            "vector_mb": round(4 * arguments.params / 1e6, 1),
            "agents": arguments.agents,
            "params": arguments.params,
            "threads": arguments.threads,
        }
        print(json.dumps(line), flush=True)


def rules(agents: int) -> list[rc.Aggregator]:
    """The mean and the robust rules, told that a tenth of the agents is bad."""
    bad = agents // 10
    return [
        rc.Mean(),
        rc.Median(),
        rc.TrimmedMean(0.1),
        rc.Krum(bad),
        rc.Krum(bad, num_selected=None),
        rc.Bulyan(bad),
        rc.GeometricMedian(),
        rc.CenteredClip(),
    ]


def some_updates(agents: int, params: int) -> list[rc.Update]:
    """Updates with something in common and something of their own."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(params, generator=generator)
    deltas = (torch.randn(params, generator=generator).add_(common) for _ in range(agents))
    return [rc.Update(f"agent-{i}", 1.0, {"delta": delta}) for i, delta in enumerate(deltas)]


def merging(rule: rc.Aggregator, updates: list[rc.Update], params: torch.Tensor) -> Callable[[], object]:
    """The rule's work on a round's updates, as a call."""
    state, round = rule.init(params), rc.Round(1, 0, 0, {})
    return lambda: rule.update(add_up(rule.collect(update, round) for update in updates), state, params, seed=0)


def best_seconds(read: Callable[[], object], merge: Callable[[], object], repeats: int) -> list[float]:
    """Least seconds of each of the two calls, one after the other in each repeat."""
    pairs = [(timed(read), timed(merge)) for _ in range(repeats)]
    return [min(times) for times in zip(*pairs, strict=True)]


def timed(run: Callable[[], object]) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def extra_peak_mb(run: Callable[[], object]) -> float | None:
    """Peak of the process's memory during a call, above what it held before; None where the kernel does not tell."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what is free but kept would hide what is used
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return None
    before = status_mb("VmRSS")
    run()
    return round(status_mb("VmHWM") - before, 1)


def status_mb(name: str) -> float:
    """A line of this process's status, in MB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


if __name__ == "__main__":
    main()
