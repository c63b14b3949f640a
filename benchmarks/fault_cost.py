"""What surviving costs: rounds with and without inspection, journal and checkpoints, as a Markdown table.

    python -m benchmarks.fault_cost --workloads W1 W2 W3 --repeats 5

The workloads are those of benchmarks.rounds, on Ray, with a checkpoint every ten rounds. With and without take turns;
seconds are means over the rounds of a run, checkpoints that are written meanwhile included, and medians over the runs.
The parts are timed in the driver's process: inspection is looking at what arrived, the journal is a line a round, and a
checkpoint is what the round waits for until it is being written beside the next ones.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import raycollab as rc
from benchmarks.rounds import started_and_ended
from benchmarks.systems.ours import CHECKPOINT_EVERY, Watch, made_of
from benchmarks.systems.survival import PARTS, SECONDS, Clocked
from benchmarks.workloads.outcome import chosen

ROUNDS = 2 * CHECKPOINT_EVERY + 3  # two checkpoints lie in between; neither the first round nor the last two count
_HEAD = ("workload", "ms a round with", "without", "difference", *PARTS, "all parts", "of the round, %")


@dataclass(frozen=True)
class Cost:
    """Seconds of a run's rounds, and of the parts in them."""

    seconds: float
    parts: dict[str, float]


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--workloads", nargs="+", default=["W1", "W2", "W3"], choices=("W1", "W2", "W3"))
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--tiny", action="store_true", help="in seconds, to see that it works")
    made.add_argument("--without", action="store_true", help=argparse.SUPPRESS)
    made.add_argument("--folder", help=argparse.SUPPRESS)  # of one run, in a process of its own
    arguments = made.parse_args()
    if arguments.folder:
        run(arguments.workloads[0], arguments.tiny, arguments.without, arguments.folder)
        return
    print(row(_HEAD), row(["---"] * len(_HEAD)), sep="\n")
    for workload in arguments.workloads:
        costs: dict[bool, list[Cost]] = {False: [], True: []}
        for repeat in range(arguments.repeats):
            for without in costs:
                print(f"{workload} repeat {repeat + 1} {'without' if without else 'with'}", file=sys.stderr)
                costs[without].append(measured(workload, arguments.tiny, without))
        print(row(line(workload, costs[False], costs[True])), flush=True)


def run(workload: str, tiny: bool, without: bool, folder: str) -> None:
    """One run; it writes what it took into the folder."""
    sized = chosen(workload, tiny, None, ROUNDS)
    experiment = made_of(sized, tiny, "ray", 2, folder)
    if without:
        experiment = replace(experiment, checkpoint=rc.CheckpointConfig(every=sized.rounds))
    watch = Watch()
    rc.run_experiment(replace(experiment, chain=(*experiment.chain, Clocked(folder, without))), callbacks=[watch])
    lines = [json.loads(line) for line in Path(folder, SECONDS).read_text().splitlines()]
    Path(folder, "outcome.json").write_text(json.dumps({"ended": watch.ended, "parts": lines}))


def measured(workload: str, tiny: bool, without: bool) -> Cost:
    """One run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.fault_cost", "--workloads", workload]
    command += ["--tiny"] * tiny + ["--without"] * without
    outcome, _, _ = started_and_ended(command, watch=False)
    return cost(outcome["ended"], outcome["parts"])


def cost(ended: Sequence[float], parts: Sequence[dict[str, float]]) -> Cost:
    """Of the rounds after the first one and before the last two, which end the run.

    Args:
        ended: When each round had ended.
        parts: Seconds of each part between the aggregation of the round before and that of this one, a line a round.
    """
    first, last = 1, len(ended) - 2
    middle = parts[first + 1 : last + 1]
    seconds = (ended[last - 1] - ended[first - 1]) / (last - first)
    return Cost(seconds, {name: sum(each[name] for each in middle) / len(middle) for name in PARTS})


def line(workload: str, having: Sequence[Cost], lacking: Sequence[Cost]) -> list[str]:
    """One row of the table."""
    with_s, without_s = (statistics.median(each.seconds for each in costs) for costs in (having, lacking))
    parts = [statistics.median(each.parts[name] for each in having) for name in PARTS]
    times = [with_s, without_s, with_s - without_s, *parts, sum(parts)]
    return [workload, *(f"{1000 * seconds:.2f}" for seconds in times), f"{100 * sum(parts) / with_s:.2f}"]


def row(cells: Sequence[str]) -> str:
    """A line of Markdown."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
