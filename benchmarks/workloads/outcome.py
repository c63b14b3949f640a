"""How a system is told what to run, and what it says at the end: the part that all of them share."""

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.workloads.workload import WORKLOADS, Workload


@dataclass(frozen=True)
class Outcome:
    """What a system says of its run.

    Args:
        ended: When each round had ended for whoever waits for it, in seconds since the epoch.
        accuracy: Of the last model on the test examples.
        bytes_moved: Vectors that went from one process to another, in all rounds together.
    """

    ended: Sequence[float]
    accuracy: float
    bytes_moved: int

    def write(self, folder: str, *packages: str) -> None:
        """Write it where the benchmark looks for it, with the versions of these packages and of Python."""
        versions = {"python": platform.python_version(), **{package: version(package) for package in packages}}
        line = {**asdict(self), "accuracy": round(self.accuracy, 4), "versions": versions}
        Path(folder, "outcome.json").write_text(json.dumps(line))


def parser() -> argparse.ArgumentParser:
    """What every system's command line understands."""
    made = argparse.ArgumentParser()
    made.add_argument("--workload", choices=WORKLOADS, required=True)
    made.add_argument("--agents", type=int)
    made.add_argument("--rounds", type=int)
    made.add_argument("--tiny", action="store_true")
    made.add_argument("--processes", type=int, default=2)
    made.add_argument("--folder", required=True, help="where outcome.json is written")
    return made


def parse_task(made: argparse.ArgumentParser | None = None) -> tuple[argparse.Namespace, Workload]:
    """The command line, and the workload that it asks for."""
    arguments = (made or parser()).parse_args()
    return arguments, chosen(arguments.workload, arguments.tiny, arguments.agents, arguments.rounds)


def chosen(name: str, tiny: bool, agents: int | None, rounds: int | None) -> Workload:
    """A workload by its name, in the size that is asked for."""
    workload = WORKLOADS[name].tiny() if tiny else WORKLOADS[name]
    return workload.sized(agents=agents, rounds=rounds)
