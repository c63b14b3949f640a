"""Runs the scenes of a plan, each in a process of its own, and puts together what became of each fault."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.chaos.disk import small_disk
from benchmarks.chaos.experiment import made
from benchmarks.chaos.faults import LOST_CALLS, Fault, scenes
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.reference import judged
from benchmarks.chaos.table import Outcome
from raycollab.experiment import Experiment

ROOT = Path(__file__).parents[2]
SILENCE_S = 400.0  # after which a run is taken to hang: all that it may wait for itself is less
_LONGEST_S = 600.0  # that a fault may take to be over, even if rounds go on
_TRIES = 5  # at starting a run: Ray may not be there in time on a busy machine
_LOSS = {  # of calls to actors and of their answers, in percent
    "CoreWorkerService.grpc_client.PushTask": {
        "num_failures": -1,
        "req_failure_prob": 1,
        "resp_failure_prob": 1,
        "in_flight_failure_prob": 1,
    }
}


def outcomes_of(faults: Sequence[Fault], seed: int, folder: Path) -> list[Outcome]:
    """Run all scenes; what is left of one that hangs or ends, or does not start, is run in another one.

    Raises: SystemExit if none can be started.
    """
    outcomes: list[Outcome] = []
    left, unstarted = scenes(faults), 0
    while left:
        scene, mine = left.pop(0)
        number = len(list(folder.iterdir()))
        place = folder / f"run-{number:03d}"
        found, rest = played(scene, mine, seed + number, (1, 3)[number % 2], place)
        outcomes += found
        if rest:
            left.insert(0, (scene, rest))
        unstarted = 0 if found else unstarted + 1
        if unstarted == _TRIES:
            raise SystemExit(f"no run could be started {_TRIES} times in a row; see {place / 'output.txt'}")
        print(f"{scene}: {len(found)} faults over, {len(faults) - len(outcomes)} left", file=sys.stderr, flush=True)
    return outcomes


def played(
    scene: str, faults: Sequence[Fault], seed: int, every: int, place: Path
) -> tuple[list[Outcome], list[Fault]]:
    """Run one scene; returns what became of its faults, and those that it did not come to."""
    ledger = Ledger(str(place / "ledger"))
    Path(ledger.path).mkdir(parents=True)
    spec = {"scene": scene, "faults": [fault.to_plain() for fault in faults], "seed": seed, "every": every}
    (place / "spec.json").write_text(json.dumps({**spec, "ledger": ledger.path, "folder": str(place)}))
    with small_disk(place / "disk"):
        code = ended(scene, place, ledger)
    over = ledger.rows("outcomes.jsonl")
    outcomes = [Outcome(row["kind"], seconds=row["time"] - row["struck"]["time"], missed=row["missed"]) for row in over]
    rest = list(faults[len(over) :])
    if code != 0:
        print(f"{place}: exit code {code}\n{(place / 'output.txt').read_text()[-3000:]}", file=sys.stderr)
        if not ledger.rows("rounds.jsonl"):
            return [], rest
        kind = rest.pop(0).kind if rest else faults[-1].kind
        outcomes.append(Outcome(kind, hang=code is None, ended=code is not None))
    compared(
        outcomes, [row["struck"]["time"] for row in over], ledger, made(scene, seed, every, ledger.path, str(place))
    )
    return outcomes, rest


def compared(outcomes: list[Outcome], struck: list[float], ledger: Ledger, experiment: Experiment) -> None:
    """Count rounds that were replayed or are wrong for the fault that came last before them."""
    with tempfile.TemporaryDirectory(prefix="raycollab-chaos-") as folder:
        for each in judged(ledger, experiment, folder):
            index = max(sum(time <= each.time for time in struck) - 1, 0)
            outcomes[index].replayed += each.replayed
            outcomes[index].wrong += not each.right


def ended(scene: str, place: Path, ledger: Ledger) -> int | None:
    """Run a scene to its end; returns its exit code, or None if nothing was heard of it for too long."""
    ray_files = tempfile.mkdtemp(prefix="rc-", dir="/tmp")  # short: the paths of Ray's sockets are below it
    Path(ray_files, "ray").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {
        **kept,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "disabled",
        "RAY_TMPDIR": ray_files,
        "RAY_USAGE_STATS_ENABLED": "0",
        **({"RAY_testing_rpc_failure": json.dumps(_LOSS)} if scene == LOST_CALLS else {}),
    }
    with (place / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.chaos.scene", str(place / "spec.json")],
            cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            return watched(process, ledger)
        finally:
            end(process)
            shutil.rmtree(ray_files, ignore_errors=True)


def watched(process: subprocess.Popen, ledger: Ledger) -> int | None:
    """Wait for a process as long as it writes into its ledger, and faults are over in time."""
    heard, size = time.monotonic(), -1
    while process.poll() is None:
        now = sum(path.stat().st_size for path in Path(ledger.path).glob("*.jsonl"))
        if now != size:
            heard, size = time.monotonic(), now
        if time.monotonic() - heard > SILENCE_S or since_it_struck(ledger) > _LONGEST_S:
            return None
        time.sleep(0.2)
    return process.returncode


def since_it_struck(ledger: Ledger) -> float:
    """Seconds since the fault that is under way struck; 0 if there is none."""
    fault, _ = ledger.armed()
    struck = ledger.struck(fault) if fault else None
    over = [row["number"] for row in ledger.rows("outcomes.jsonl")]
    return time.time() - struck["time"] if fault and struck and fault.number not in over else 0.0


def end(process: subprocess.Popen) -> None:
    """End a process, if it has not ended, and all that it started."""
    if process.poll() is None:
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        for each in started:
            if each.is_running():
                each.kill()
