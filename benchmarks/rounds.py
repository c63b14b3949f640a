"""One run of one system on one workload, and one JSON line about it.

    python -m benchmarks.rounds --workload W1 --system raycollab

W1 simulation: 1,000 agents, 50 a round; an MLP of 159,010 parameters; 50 examples each, batches of 10
W2 cross-silo: 8 agents, all of them; a CNN of 545,098 parameters; 500 examples of 32x32x3 each, batches of 32
W3 large exchange: 4 agents, 100 M parameters, one step on one example
W4 the sum alone: weighted mean of 8 vectors of 100 M float32
W5 scale: W1's model, a tenth of --agents 10, 100, 1000 or 10000 a round
G1 simulation on a GPU: 1,000 agents, 50 a round, 1,500 rounds, scored after every tenth; a CNN of 1,629,346 parameters;
   50 images of 32x32x3 each: --system raycollab-local --set scaling.gpus_per_host=1.0 scaling.gpus_for_driver=1.0
   scaling.agents_at_once=50, or --system pfl. The images are CIFAR-10's where cifar10_train.parquet and
   cifar10_test.parquet are under $RAYCOLLAB_DATA, and generated ones elsewhere; "data" in the line says which

Every system has the same model with the same first weights, data, batch size, steps and number of rounds, and
--processes processes of one thread each (raycollab-local always has one). Floor and Flower know only the CPU, and score
G1 at its end alone. Seconds are between the ends of rounds, as whoever waits for them sees it; the first, and all
together, count from the start of the process. Memory is the peak of the summed proportional set sizes of all processes;
sampling it takes time from the run, and --unwatched leaves it out. Peers have environments of their own:
python -m benchmarks.peers.install.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from benchmarks.decoded import decoded
from benchmarks.memory import Peak, watched
from benchmarks.peers.install import interpreter
from benchmarks.workloads.outcome import chosen
from benchmarks.workloads.real import PLACE

ROOT = Path(__file__).parents[1]
SYSTEMS = {  # what each is started as, within an interpreter
    "raycollab": ("benchmarks.systems.ours", "--pool", "ray"),
    "raycollab-local": ("benchmarks.systems.ours", "--pool", "local"),
    "floor": ("benchmarks.systems.floor",),
    "floor-fused": ("benchmarks.systems.floor", "--fused"),
    "flower": ("benchmarks.peers.flower_app",),
    "pfl": ("benchmarks.peers.pfl_app",),
}
SUMS = {
    "raycollab": ("benchmarks.systems.sums", "raycollab"),
    "torch": ("benchmarks.systems.sums", "torch"),
    "numpy": ("benchmarks.systems.sums", "numpy"),
    "flower": ("benchmarks.peers.flower_sum",),
    "pfl": ("benchmarks.peers.pfl_sum",),
}
PEERS = ("flower", "pfl")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--workload", choices=("W1", "W2", "W3", "W4", "W5", "G1"), required=True)
    made.add_argument("--system", choices=sorted({**SYSTEMS, **SUMS}), required=True)
    made.add_argument("--agents", type=int)
    made.add_argument("--rounds", type=int)
    made.add_argument("--processes", type=int, help="2, or 1 for G1, which is for one GPU")
    made.add_argument("--tiny", action="store_true", help="in seconds, to see that it works")
    made.add_argument("--unwatched", action="store_true", help="without sampling the memory")
    made.add_argument("--set", nargs="*", default=[], help="raycollab's settings, such as scaling.agents_at_once=10")
    arguments = made.parse_args()
    print(json.dumps(run(**vars(arguments))))


def run(
    workload: str,
    system: str,
    *,
    agents: int | None = None,
    rounds: int | None = None,
    processes: int | None = None,
    tiny: bool = False,
    unwatched: bool = False,
    set: Sequence[str] = (),
) -> dict[str, Any]:
    """Run one system on one workload, and return its line.

    Raises: SystemExit if the system has no such workload, is not installed, or fails.
    """
    command = command_of(workload, system)
    command += [*(["--tiny"] if tiny else []), *(["--set", *set] if set else [])]
    named = {"workload": workload, "system": system, "settings": list(set), "tiny": tiny, "cores": os.cpu_count()}
    if workload == "W4":
        outcome, _, peak = started_and_ended(command, watch=not unwatched)
        return {**named, **outcome, **memory(peak)}
    size = chosen(workload, tiny, agents, rounds)
    processes = 1 if system == "raycollab-local" else processes or size.processes
    sizes = {"--workload": workload, "--agents": agents, "--rounds": rounds, "--processes": processes}
    command += [str(part) for name, value in sizes.items() if value is not None for part in (name, value)]
    command = launched(command, system, processes)
    with tempfile.TemporaryDirectory() as folder:
        images = decoded(size, folder)
        further = {PLACE: images} if images else {}
        outcome, began, peak = started_and_ended(command, watch=not unwatched, further=further)
    named |= {"processes": processes, "data": "CIFAR-10" if images else "generated"}
    named |= {"gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none"} if size.gpu else {}
    return {**named, **timed(outcome, began), **memory(peak)}


def memory(peak: Peak | None) -> dict[str, float | None]:
    """What was sampled, if it was."""
    return {"peak_pss_mb": peak and peak.total_mb, "driver_pss_mb": peak and peak.driver_mb}


def command_of(workload: str, system: str) -> list[str]:
    """What a system is started as.

    Raises: SystemExit if it has no such workload, or its environment is not there.
    """
    known = SUMS if workload == "W4" else SYSTEMS
    if system not in known:
        raise SystemExit(f"{workload} is not there for {system!r}; it is for {', '.join(known)}")
    if system not in PEERS:
        return [sys.executable, "-m", *known[system]]
    python = interpreter(system)
    if not python.exists():
        raise SystemExit(f"{system} is not installed; run python -m benchmarks.peers.install --only {system}")
    return [str(python), "-m", *known[system]]


def launched(command: list[str], system: str, processes: int) -> list[str]:
    """The command as it is started: pfl's processes are torchrun's."""
    if system == "pfl" and processes > 1 and command[2] == "benchmarks.peers.pfl_app":
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        return [command[0], *torchrun, *command[1:]]
    return command


def started_and_ended(
    command: list[str], watch: bool, further: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, Any], float, Peak | None]:
    """What a command wrote, when it was started, and its memory; it gets these further environment variables."""
    environment = {
        **os.environ,
        **further,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with tempfile.TemporaryDirectory() as folder, Path(folder, "output").open("w+") as output:
        started = time.time()
        process = subprocess.Popen(
            [*command, "--folder", folder], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        peak = watched(process) if watch else None
        process.wait()
        written = Path(folder, "outcome.json")
        if process.returncode or not written.exists():
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} exited with {process.returncode}:\n{output.read()[-4000:]}")
        return json.loads(written.read_text()), started, peak


def timed(outcome: Mapping[str, Any], started: float) -> dict[str, Any]:
    """What was measured, with the ends of rounds as seconds."""
    ended = outcome["ended"]
    seconds = [round(after - before, 4) for before, after in pairwise(ended)]
    return {
        "rounds": len(ended),
        "seconds_in_all": round(ended[-1] - started, 2),
        "seconds_to_first_round": round(ended[0] - started, 2),
        "seconds_a_round": round(statistics.median(seconds), 4) if seconds else None,
        "seconds_by_round": seconds,
        **{name: value for name, value in outcome.items() if name != "ended"},
    }


if __name__ == "__main__":
    main()
