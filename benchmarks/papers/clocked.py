"""What a rule costs a round, in time of the processor; in turn with another rule, as the machine does other work."""

import time
from dataclasses import dataclass, replace
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.papers.swept import Found
from raycollab import Experiment
from raycollab.checkpoint import RunFolder
from raycollab.driver import Driver
from raycollab.runtime.pool import LocalPool

SHARE, MORE, SECONDS = "percent_of_round", "percent_more", "seconds_beside"


@dataclass(frozen=True)
class Clocked:
    """What a round of an experiment costs, by itself and beside one of another: the first and last do not count.

    Args:
        experiment: What is measured; its rule is the first of its chain.
        beside: What it is compared with; it has as many rounds.
    """

    experiment: Experiment
    beside: Experiment

    def run(self, folder: str, seed: int) -> Found:
        """Run both in this process, a round each; the metrics are medians over the rounds.

        They are the rule's share of its round, how much more such a round takes, and the seconds of the other one's.
        """
        one = started(self.experiment, folder, "one", seed)
        other = started(self.beside, folder, "other", seed)
        rows = []
        for _ in range(self.experiment.run.num_rounds - 1):
            merging: list[float] = []
            with patch.object(type(self.experiment.chain[0]), "update", _timed(self.experiment, merging)):
                seconds = _spent(one)
            rows.append((sum(merging) / seconds, seconds, _spent(other)))
        share, more, beside = zip(*((s, 100 * (mine / its - 1), its) for s, mine, its in rows[1:]), strict=True)
        return Found({SHARE: 100 * median(share), MORE: median(more), SECONDS: median(beside)}, ())


def started(experiment: Experiment, folder: str, name: str, seed: int) -> Driver:
    """A driver in this process, ready for its first round."""
    run, scaling = replace(experiment.run, dir=folder, name=name, seed=seed), replace(experiment.scaling, pool="local")
    placed = replace(experiment, run=run, scaling=scaling).resolved()
    pool = LocalPool(placed.session(), placed.members(), placed.layout(num_cpus=1), "cpu")
    driver = Driver(placed.plan(), pool, RunFolder.create(folder, name))
    driver.start()
    return driver


def _timed(experiment: Experiment, spent: list[float]) -> Any:
    """The update of its rule, which notes how long it takes."""
    update = type(experiment.chain[0]).update

    def noted(*given: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return update(*given, **named)
        finally:
            spent.append(time.process_time() - start)

    return noted


def _spent(driver: Driver) -> float:
    start = time.process_time()
    driver.step()
    return time.process_time() - start
