"""A sweep in the place of an experiment: what it finds is scored on the test set, which no trial has seen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from raycollab import Experiment, Result, Search, Task, run_experiment, search
from raycollab.sweeps.report import EXAMPLES, UPDATES, cost


@dataclass(frozen=True)
class Found:
    """What a sweep found.

    Args:
        metrics: On the test set.
        rows: The sweep's trials, best first.
    """

    metrics: Mapping[str, float]
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Swept:
    """An experiment, and how it is searched.

    Args:
        experiment: What is tried.
        settings: How.
        anew: Whether the best settings are trained once more; else the best trial's model counts as it is.
        again: Makes the task that scores that model of the one that trials were compared by.
    """

    experiment: Experiment
    settings: Search
    anew: bool = True
    again: Callable[[Task], Task] = lambda task: task

    def run(self, folder: str, seed: int) -> Found:
        """Search, on the Ray that runs in this process or on one of its own, and score what is found."""
        run, scaling = self.experiment.run, replace(self.experiment.scaling, pool="local")
        placed = replace(self.experiment, run=replace(run, dir=folder, seed=seed), scaling=scaling)
        sweep = search(placed, replace(self.settings, seed=seed))
        if self.anew:
            winner = replace(sweep.winner, run=replace(sweep.winner.run, name="winner"))
            return Found(run_experiment(winner).metrics, tuple(sweep.rows))
        model = sweep.model()
        model = replace(model, task=self.again(model.task))
        return Found(model.evaluate(placed.test).compute(), tuple(sweep.rows))


def agent_updates(result: Result | Found) -> float:
    """Updates of agents that it took, those of all trials together."""
    return _spent(result, UPDATES)


def examples(result: Result | Found) -> float:
    """Examples in them, each pass anew."""
    return _spent(result, EXAMPLES)


def _spent(result: Result | Found, name: str) -> float:
    return sum(row[name] for row in result.rows) if isinstance(result, Found) else cost(result.agents)[name]
