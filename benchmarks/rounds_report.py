"""Systems side by side: runs that take turns, medians, and ratios beside what is to be reached.

    python -m benchmarks.rounds_report --workload W1 --systems raycollab floor flower pfl --repeats 5

The first system is the one that is judged. In each repeat every system runs once, one after the other, so that a
machine that is slow for a while is slow for all; a ratio is the median of the repeats' ratios. Memory comes from one
more run of each, because sampling it takes time. A system may carry settings, with commas between:
raycollab:scaling.agents_at_once=10 or floor:processes=1. --agents 10 100 1000 10000 makes a table of each size (W5).
--lines adds every run's line to a file, and with --repeats 0 the tables are made of the lines that are there.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.goals import BESIDE, FIRST, IN_ALL, ROUND, SECONDS_IN_ALL, SHARE_OF_LIMIT, goal, settings_of, system_of
from benchmarks.rounds import SUMS, SYSTEMS, run

Line = Mapping[str, Any]
MEMORY = "peak_pss_mb"


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--workload", choices=("W1", "W2", "W3", "W4", "W5", "G1"), required=True)
    made.add_argument("--systems", nargs="+", required=True, metavar="SYSTEM[:SETTING=VALUE,...]")
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--agents", type=int, nargs="+", default=[None])
    made.add_argument("--rounds", type=int)
    made.add_argument("--tiny", action="store_true")
    made.add_argument("--lines", type=Path, help="file of JSON lines that runs are added to")
    arguments = made.parse_args()
    check(arguments.workload, arguments.systems)
    sizes = {"rounds": arguments.rounds, "tiny": arguments.tiny}
    lines = kept(arguments.lines)
    for agents in arguments.agents:
        for spec, repeat in order(arguments.systems, arguments.repeats):
            lines.append(measured(arguments.workload, spec, repeat, agents=agents, **sizes))
            keep(arguments.lines, lines[-1])
    lines = [line for line in lines if line["workload"] == arguments.workload and line["spec"] in arguments.systems]
    for agents in arguments.agents:
        of_size = [line for line in lines if line["asked_agents"] == agents]
        title = arguments.workload if agents is None else f"{arguments.workload}, {agents:,} agents"
        print(f"{title}\n\n{table(arguments.workload, arguments.systems, of_size)}\n")
    if arguments.workload in BESIDE:
        print(BESIDE[arguments.workload])


def check(workload: str, specs: Sequence[str]) -> None:
    """Refuse systems that are not there, before anything runs."""
    known = SUMS if workload == "W4" else SYSTEMS
    unknown = [spec for spec in specs if system_of(spec) not in known]
    if unknown:
        raise SystemExit(f"--systems {unknown[0]}: {workload} is there for {', '.join(known)}")


def order(specs: Sequence[str], repeats: int) -> list[tuple[str, int | None]]:
    """Who runs when: all in turn, each repeat; and at last once more with its memory watched (None)."""
    turns: list[int | None] = [*range(repeats)] + ([None] if repeats else [])
    return [(spec, turn) for turn in turns for spec in specs]


def measured(workload: str, spec: str, repeat: int | None, *, agents: int | None, **sizes: Any) -> dict[str, Any]:
    """One run's line, with what it was asked for."""
    settings = settings_of(spec)
    processes = int(given) if (given := settings.pop("processes", None)) else None
    named = [f"{path}={value}" for path, value in settings.items()]
    print(f"{workload} {spec} {'memory' if repeat is None else f'repeat {repeat + 1}'}", file=sys.stderr)
    if workload == "W4":
        line = run(workload, system_of(spec), tiny=sizes["tiny"], unwatched=repeat is not None)
    else:
        line = run(
            workload,
            system_of(spec),
            agents=agents,
            processes=processes,
            unwatched=repeat is not None,
            set=named,
            **sizes,
        )
    return {**line, "spec": spec, "repeat": repeat, "asked_agents": agents}


def kept(path: Path | None) -> list[dict[str, Any]]:
    """Lines of earlier runs."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []


def keep(path: Path | None, line: Line) -> None:
    """Add a line to the file, if there is one."""
    if path:
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def table(workload: str, specs: Sequence[str], lines: Sequence[Line]) -> str:
    """Markdown: a row for each system, with the ratios of the first one's seconds to its own."""
    if workload == "W4":
        head = ("system", "GB/s of input", "limit, GB/s", "share of the limit", "to reach", "peak memory, MB")
        rows = [sum_row(spec, lines) for spec in specs]
    else:
        ours = specs[0]
        head = (
            "system", "seconds a round", "range", "ratio", "to reach",
            "first round, s", "ratio", "to reach", "peak memory, MB", "driver, MB", "accuracy",
        )  # fmt: skip
        head += ("in all, s", "ratio", "to reach") if workload in SECONDS_IN_ALL else ()
        rows = [row(workload, ours, spec, lines) for spec in specs]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def row(workload: str, ours: str, spec: str, lines: Sequence[Line]) -> list[str]:
    """What one system took, and how the judged one stands to it."""
    times = values(lines, spec, ROUND)
    compared = [[], []] if spec == ours else [against(workload, ours, spec, figure, lines) for figure in (ROUND, FIRST)]
    by_round, by_first = (cells or ["", ""] for cells in compared)
    return [
        spec,
        shown(statistics.median, times, ".4g"),
        f"{shown(min, times, '.4g')} - {shown(max, times, '.4g')}",
        *by_round,
        shown(statistics.median, values(lines, spec, FIRST), ".1f"),
        *by_first,
        shown(max, values(lines, spec, MEMORY), ".0f"),
        shown(max, values(lines, spec, "driver_pss_mb"), ".0f"),
        shown(statistics.median, values(lines, spec, "accuracy"), ".4f"),
        *(in_all(workload, ours, spec, lines) if workload in SECONDS_IN_ALL else ()),
    ]


def in_all(workload: str, ours: str, spec: str, lines: Sequence[Line]) -> list[str]:
    """Seconds of a whole run, the judged one's ratio to them, and what it is to take itself."""
    seconds = shown(statistics.median, values(lines, spec, IN_ALL), ".1f")
    if spec == ours:
        return [seconds, "", f"<= {SECONDS_IN_ALL[workload]:g} s"]
    return [seconds, *against(workload, ours, spec, IN_ALL, lines)]


def sum_row(spec: str, lines: Sequence[Line]) -> list[str]:
    """What one way of adding reached."""
    figures = [("gb_a_second", ".1f"), ("limit_gb_a_second", ".1f"), ("share_of_limit", ".2f")]
    reached = [shown(statistics.median, values(lines, spec, figure), form) for figure, form in figures]
    goal = f">= {SHARE_OF_LIMIT}" if system_of(spec) == "raycollab" else ""
    return [spec, *reached, goal, shown(max, values(lines, spec, MEMORY), ".0f")]


def against(workload: str, ours: str, other: str, figure: str, lines: Sequence[Line]) -> list[str]:
    """Median of the repeats' ratios, and what it is to be."""
    mine, its = by_repeat(lines, ours, figure), by_repeat(lines, other, figure)
    ratios = [mine[repeat] / its[repeat] for repeat in sorted(mine.keys() & its.keys())]
    limit = goal(workload, ours, other, figure)
    return [shown(statistics.median, ratios, ".2f"), "" if limit is None else f"<= {limit:.3g}"]


def values(lines: Sequence[Line], spec: str, figure: str) -> list[float]:
    """A figure of all timed runs of a system; memory, of those that were watched."""
    watched = figure in (MEMORY, "driver_pss_mb")
    mine = [line for line in lines if line["spec"] == spec and (line["repeat"] is None) == watched]
    return [line[figure] for line in mine if line.get(figure) is not None]


def by_repeat(lines: Sequence[Line], spec: str, figure: str) -> dict[int, float]:
    """A figure of a system's timed runs, by the repeat."""
    mine = [line for line in lines if line["spec"] == spec and line["repeat"] is not None]
    return {line["repeat"]: line[figure] for line in mine if line.get(figure) is not None}


def shown(what: Callable[[Sequence[float]], float], numbers: Sequence[float], form: str) -> str:
    """One number of several, as text; nothing if there are none."""
    return format(what(numbers), form) if numbers else ""


if __name__ == "__main__":
    main()
