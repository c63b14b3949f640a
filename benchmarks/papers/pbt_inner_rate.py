"""MAML whose inner rate begins ten times too large: as it is, and changed on the way by population-based training."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

import raycollab as rc
from benchmarks.papers.paper import Paper
from benchmarks.papers.swept import Swept, agent_updates

NET = rc.models.MLP(1, 1, hidden=(40, 40))
RATES = [0.003, 0.01, 0.03, 0.1, 0.3]
GOOD, TOO_LARGE = 0.01, 0.1  # the best of them for seed 77 and other curves, and ten times as much
RATE = "agents.members.0.learner.lr task.learner.lr"  # that of learning, and that of whoever adapts to a new curve
FIXED, LARGE, POPULATION = f"rate {GOOD}", f"rate {TOO_LARGE}", f"6 trials from rate {TOO_LARGE}, changed on the way"
CURVES = rc.meta.Sinusoids(support=10, query=10)
COMPARED, TESTED = 2**19, 2**20  # seeds of the curves that trials are compared on, and of those at the end


def _nobody() -> rc.data.Source:
    """Rows that nobody looks at, as the curves come from a function; trials in other processes find them in a file."""
    path = Path(tempfile.gettempdir()) / "raycollab-nobody.parquet"
    if not path.exists():
        rows = [float(row) for row in range(8)]
        pq.write_table(pa.table({"features": [[row] for row in rows], "label": rows}), path)
    return rc.data.Parquet(str(path))


def experiments(seed: int, tiny: bool, *, tested: int = TESTED) -> Mapping[str, rc.Experiment | Swept]:
    nobody, rounds = _nobody(), 2 if tiny else 45
    outer = rc.Optimizer("Adam", {"lr": 3e-3}, keep_state=True)
    steps, episodes = (2, 4) if tiny else (100, 400)

    def experiment(rate: float, curves: int) -> rc.Experiment:
        learner = rc.MAML(lr=rate, outer=outer, outer_steps=steps, episodes=10, vectorised=True, tasks=CURVES)
        judge = rc.MetaTask(rc.Regression(NET), learner, rc.meta.Sinusoids(10, 100), episodes, seed=curves + seed)
        return rc.Experiment(
            judge,
            rc.Parties((rc.Agent("a", nobody, learner, val_fraction=0.0),)),
            (rc.Mean(),),
            rc.data.Holdout(nobody, "test", 0.5),
            run=rc.RunConfig(num_rounds=rounds, eval_every=1 if curves == COMPARED else rounds),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    def again(task: rc.Task) -> rc.Task:
        return replace(cast(rc.MetaTask, task), seed=tested + seed)

    settings = rc.Search(
        {RATE: {"choice": RATES}},
        rc.data.Holdout(nobody, "train", 0.5),
        metric="loss",
        mode="min",
        num_samples=2 if tiny else 6,
        scheduler="pbt",
        grace=1 if tiny else 3,  # a net that was trained for one rate takes rounds to show what another is worth
        as_given=True,
    )
    return {
        FIXED: experiment(GOOD, tested),
        LARGE: experiment(TOO_LARGE, tested),
        POPULATION: Swept(experiment(TOO_LARGE, COMPARED), settings, anew=False, again=again),
    }


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    good, large, found = figures[FIXED], figures[LARGE], figures[POPULATION]
    nearer = [each - least <= 0.25 * (most - least) for each, least, most in zip(found, good, large, strict=True)]
    return {"a population makes up three quarters of what the rate costs, in every seed": all(nearer)}


PAPER = Paper(
    title="Population-based training over MAML's inner rate, sinusoids, 10 points, one step, 4,500 outer steps",
    source="a setup of our own",
    kind="reduced",
    experiments=experiments,
    figure=lambda result: result.metrics["loss"],
    unit="squared error over 400 curves",
    published={},
    claims=claims,
    columns={"updates of agents": agent_updates},
)
