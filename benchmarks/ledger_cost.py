"""What a ledger costs: hashing an update and signing it, by the number of parameters; a line, by the number of agents.

`python -m benchmarks.ledger_cost` prints Markdown tables.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import torch

from raycollab.checkpoint import RunFolder
from raycollab.digests import digest_of
from raycollab.keys import new_key
from raycollab.ledger import Ledger, Notary, Signer
from raycollab.types import AgentReport, Round, RoundReport, Update

ROUND = Round(1, 0, 0, {}, ledger="0" * 64)


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of a call."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times)


def by_size(sizes: list[int], repeats: int) -> list[str]:
    """Hash, receipt and its check, for updates of these lengths."""
    lines = ["| parameters | SHA-256, ms | receipt with signature, ms | its check, ms |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        key = new_key("north", folder)
        signer, notary = Signer("north", key, "run", "task"), Notary("run", "task", {"north": key.public})
        for size in sizes:
            update = Update("north", 1.0, {"delta": torch.randn(size)})
            report = AgentReport("north", receipt=signer.receipt(update, ROUND, learned=1.0, sent=1.0))
            hashed = milliseconds(lambda update=update: digest_of(update.vectors), repeats)
            signed = milliseconds(lambda update=update: signer.receipt(update, ROUND, learned=1.0, sent=1.0), repeats)
            checked = milliseconds(lambda report=report: notary.check(report, ROUND), repeats)
            lines.append(f"| {size:,} | {hashed:.2f} | {signed:.2f} | {checked:.2f} |")
    return lines


def by_agents(counts: list[int], repeats: int) -> list[str]:
    """A line with so many agents: time to write it, and its length."""
    lines = ["| agents | a line, ms | bytes |", "|---|---|---|"]
    signer = Signer("north", None, "run", "task")
    receipt = signer.receipt(Update("north", 1.0, {"delta": torch.ones(4)}), ROUND, learned=1.0, sent=1.0)
    for count in counts:
        agents = tuple(AgentReport(f"agent-{i}", receipt=receipt.signed("0" * 128)) for i in range(count))
        report = RoundReport(1, {}, 0.0, 0.0, 0, 0, agents, ())
        with tempfile.TemporaryDirectory() as place:
            folder = RunFolder.create(place, "run")
            ledger = Ledger(folder)

            def write(ledger: Ledger = ledger, report: RoundReport = report) -> None:
                ledger.round(report, "0" * 64)
                ledger.flush()

            took = milliseconds(write, repeats)
            length = len(folder.storage.read_bytes("ledger.jsonl").splitlines()[-1])
        lines.append(f"| {count:,} | {took:.2f} | {length:,} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--agents", type=int, nargs="+", default=[10, 1_000])
    arguments = parser.parse_args()
    lines = by_size(arguments.sizes, arguments.repeats)
    print("\n".join([*lines, "", *by_agents(arguments.agents, arguments.repeats)]))


if __name__ == "__main__":
    main()
