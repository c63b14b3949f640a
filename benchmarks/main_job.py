"""The main job from the shell: seconds to the report, memory of all processes, accuracy over seeds.

    python -m benchmarks.main_job --repeats 5 --seeds 0 1 2

prints one JSON line: medians of the repeats, on as many cores as the machine has. Memory is the peak of the summed
proportional set sizes (PSS) of all processes of the run, in a run of its own because sampling takes time from it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.memory import watched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], help="settings for every run, such as scaling.pool=local")
    arguments = parser.parse_args()
    overrides = [f"--{override}" for override in arguments.set]
    with tempfile.TemporaryDirectory() as folder:
        timed = [run(folder, f"timed-{index}", 0, overrides) for index in range(arguments.repeats)]
        seeds = [run(folder, f"seed-{seed}", seed, overrides) for seed in arguments.seeds]
        peak = run(folder, "memory", 0, overrides, watch=True)
    line = {
        "job": "raycollab run",
        "cores": os.cpu_count(),
        "seconds_to_report": statistics.median(r["wall"] for r in timed),
        "seconds_to_report_range": [min(r["wall"] for r in timed), max(r["wall"] for r in timed)],
        "seconds_until_agents_are_ready": statistics.median(r["ready"] for r in timed),
        "seconds_a_round": statistics.median(r["round"] for r in timed),
        "peak_pss_mb": peak["pss_mb"],
        "accuracy_by_seed": {seed: r["accuracy"] for seed, r in zip(arguments.seeds, seeds, strict=True)},
        "rounds_by_seed": {seed: r["rounds"] for seed, r in zip(arguments.seeds, seeds, strict=True)},
        "versions": timed[0]["versions"],
    }
    print(json.dumps(line))


def run(folder: str, name: str, seed: int, overrides: list[str], watch: bool = False) -> dict:
    """Run the job once; with `watch`, sample the memory of its processes meanwhile."""
    settings = [f"--run.dir={folder}", f"--run.name={name}", f"--run.seed={seed}", *overrides]
    command = [sys.executable, "-m", "raycollab", "run", *settings]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak = watched(process).total_mb if watch else 0.0
    output, _ = process.communicate()
    wall = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {process.returncode}:\n{output}")
    summary = json.loads((Path(folder) / name / "result.json").read_text())
    rows = [json.loads(line) for line in (Path(folder) / name / "journal.jsonl").read_text().splitlines()]
    ready = float(output.split("ready after ")[1].split(" s")[0])
    return {
        "wall": round(wall, 2),
        "ready": ready,
        "round": round(statistics.median(row["seconds"] for row in rows), 4),
        "accuracy": round(summary["metrics"]["accuracy"], 4),
        "rounds": summary["rounds"],
        "versions": summary["versions"],
        "pss_mb": peak,
    }


if __name__ == "__main__":
    main()
