"""Faults at random points of real runs on Ray, and a table of what became of them.

    python -m benchmarks.chaos --kills 200 --seed 0
    python -m benchmarks.chaos --kills 10 --only agent-start driver-commit

A run of a few agents with memories of their own goes on while faults happen to it, one after another: the next one
comes when all agents are back. Every round that was committed is then computed again in one process, with the agents
that took part in it, and its bits are compared. A run that says nothing for 400 seconds hangs. Runs are on one node,
on a cluster of several, and on a Ray that loses some of its own calls.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chaos.faults import BY_NAME, planned
from benchmarks.chaos.running import outcomes_of
from benchmarks.chaos.table import is_clean, table


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--kills", type=int, default=200, help="how many faults")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--only", nargs="+", default=[], choices=list(BY_NAME), metavar="KIND", help=", ".join(BY_NAME))
    made.add_argument("--folder", help="an empty folder for what the runs leave (default: one that is deleted)")
    arguments = made.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="raycollab-chaos-") as temporary:
        folder = Path(arguments.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        outcomes = outcomes_of(planned(arguments.kills, arguments.seed, arguments.only), arguments.seed, folder)
    print(table(outcomes))
    print(f"\n{len(outcomes)} faults, seed {arguments.seed}, {(time.monotonic() - began) / 60:.1f} minutes")
    return 0 if is_clean(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
