"""What a published result is here, and how it is run over seeds and printed."""

import json
import math
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from benchmarks.papers.clocked import Clocked
from benchmarks.papers.swept import Found, Swept
from raycollab import Experiment, Result, run_experiment, run_stages

_T_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14)  # Student's t, by freedom


@dataclass(frozen=True)
class Paper:
    """One row of the table of published results.

    Args:
        title: What is shown.
        source: Whose result it is.
        kind: "full run", "reduced" (a setup of our own, no published target) or "GPU".
        experiments: Makes the experiments, or the stages of one, or sweeps, by name, from a seed and whether it is the
            tiny version for tests; or pairs of which one is measured beside the other.
        figure: The number that an experiment's result stands for.
        unit: What the figure is.
        published: The published figure by the experiment's name, as text.
        claims: Turns figures by name and seed into sentences and whether they hold; a further column's are under
            "NAME, COLUMN".
        columns: Further numbers of a result, by the table's column.
    """

    title: str
    source: str
    kind: str
    experiments: Callable[[int, bool], Mapping[str, Experiment | Mapping[str, Experiment] | Swept | Clocked]]
    figure: Callable[[Result | Found], float]
    unit: str
    published: Mapping[str, str]
    claims: Callable[[Mapping[str, Sequence[float]]], Mapping[str, bool]]
    columns: Mapping[str, Callable[[Result | Found], float]] = field(default_factory=dict)


def final_accuracy(result: Result | Found) -> float:
    """Accuracy on the test set after the last round, in percent."""
    return 100 * result.metrics["accuracy"]


def late_accuracy(result: Result) -> float:
    """Mean accuracy on the test set in the last five evaluations, in percent: single rounds differ by points."""
    return 100 * statistics.fmean([row["accuracy"] for row in result.history if "accuracy" in row][-5:])


def rounds_until(target: float) -> Callable[[Result], float]:
    """The first round after which the accuracy on the test set was at least this; infinite if none was."""

    def figure(result: Result) -> float:
        return next((row["round"] for row in result.history if row.get("accuracy", 0.0) >= target), math.inf)

    return figure


def gains(figures: Mapping[str, Sequence[float]], better: str, worse: str) -> list[float]:
    """Differences seed by seed."""
    return [one - other for one, other in zip(figures[better], figures[worse], strict=True)]


def positive_gain(better: str, worse: str) -> Callable[[Mapping[str, Sequence[float]]], Mapping[str, bool]]:
    """The claim that one experiment is better than another in every seed."""

    def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
        gain = gains(figures, better, worse)
        return {f"the gain is positive in all seeds (by seed: {', '.join(f'{g:.1f}' for g in gain)})": min(gain) > 0}

    return claims


def run_one(module: str, name: str, seed: int, tiny: bool) -> tuple[float, float, dict[str, float]]:
    """Figure, seconds and further columns of one experiment of a paper, run in this process."""
    paper: Paper = import_module(module).PAPER
    experiment = paper.experiments(seed, tiny)[name]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = _run(experiment, folder, seed)
        seconds = time.perf_counter() - start
        return paper.figure(result), seconds, {column: number(result) for column, number in paper.columns.items()}


def _run(experiment: Experiment | Mapping[str, Experiment] | Swept | Clocked, folder: str, seed: int) -> Result | Found:
    """What an experiment, or the last of its stages, ends with, in this process; or what a sweep or a clock finds."""
    if isinstance(experiment, Swept | Clocked):
        return experiment.run(folder, seed)
    if isinstance(experiment, Mapping):
        return run_stages({name: _placed(stage, folder, seed) for name, stage in experiment.items()}).last
    return run_experiment(_placed(experiment, folder, seed))


def _placed(experiment: Experiment, folder: str, seed: int) -> Experiment:
    run, scaling = replace(experiment.run, dir=folder, seed=seed), replace(experiment.scaling, pool="local")
    return replace(experiment, run=run, scaling=scaling)


def run_paper(
    module: str, seeds: Sequence[int], *, workers: int, tiny: bool = False, only: Sequence[str] = ()
) -> dict[str, Any]:
    """All experiments of a paper over seeds; figures and seconds by name.

    Args:
        module: Where the paper is.
        seeds: Seeds of data split and run.
        workers: Processes of one thread each; 0 runs them in this process, one after another.
        tiny: The version for tests.
        only: Names of some of its experiments; all if empty.
    """
    paper: Paper = import_module(module).PAPER
    names = [name for name in paper.experiments(seeds[0], tiny) if not only or name in only]
    jobs = [(name, seed) for name in names for seed in seeds]
    if workers:
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            futures = {job: pool.submit(run_one, module, *job, tiny) for job in jobs}
            done = {job: future.result() for job, future in futures.items()}
    else:
        done = {job: run_one(module, *job, tiny) for job in jobs}
    return {
        "paper": module.rpartition(".")[2],
        "seeds": list(seeds),
        "figures": {name: [done[name, seed][0] for seed in seeds] for name in names},
        "seconds": {name: [round(done[name, seed][1], 1) for seed in seeds] for name in names},
        "columns": {
            column: {name: [done[name, seed][2][column] for seed in seeds] for name in names}
            for column in paper.columns
        },
    }


def table(module: str, measured: Mapping[str, Any]) -> str:
    """The measured figures beside the published ones, as Markdown."""
    paper: Paper = import_module(module).PAPER
    further = "".join(f" {column} |" for column in paper.columns)
    lines = [
        f"**{paper.title}** ({paper.kind}; {paper.source}), seeds {', '.join(map(str, measured['seeds']))}",
        "",
        f"| | {paper.unit}: mean and 95 % interval | by seed | published |{further} seconds a run |",
        f"|---|---|---|---|{'---|' * len(paper.columns)}---|",
    ]
    for name, figures in measured["figures"].items():
        by_seed = ", ".join(f"{figure:.4g}" for figure in figures)
        seconds = statistics.median(measured["seconds"][name])
        more = "".join(f" {statistics.fmean(numbers[name]):.4g} |" for numbers in measured["columns"].values())
        published = paper.published.get(name, "-")
        lines.append(f"| {name} | {interval(figures)} | {by_seed} | {published} |{more} {seconds:.0f} |")
    complete = set(measured["figures"]) == set(paper.experiments(0, True))
    columns = {
        f"{name}, {column}": numbers[name] for column, numbers in measured["columns"].items() for name in numbers
    }
    for claim, holds in paper.claims({**measured["figures"], **columns}).items() if complete else ():
        lines.append(f"\n- {'holds' if holds else 'DOES NOT HOLD'}: {claim}")
    return "\n".join(lines)


def interval(figures: Sequence[float]) -> str:
    """Mean and half the width of its 95 % interval over seeds."""
    mean = statistics.fmean(figures)
    if len(figures) < 2 or not math.isfinite(mean):
        return f"{mean:.4g}"
    half = _T_95[min(len(figures) - 1, len(_T_95)) - 1] * statistics.stdev(figures) / math.sqrt(len(figures))
    return f"{mean:.4g} ± {half:.2g}"


def line(measured: Mapping[str, Any]) -> str:
    """The measured figures as one line of JSON."""
    return json.dumps(measured)
