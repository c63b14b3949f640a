"""Sweeps over meta-learning, and what is measured once for all trials of a sweep."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raycollab as rc
from raycollab.errors import ConfigError
from raycollab.experiment_file import read_experiment
from raycollab.sweeps import Search, resume_search, search

from .test_sweeps import experiment, settings

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.cluster]
CURVES = rc.meta.Sinusoids(support=5, query=5)


@pytest.fixture
def sinusoids(tmp_path):
    """One agent that learns to learn curves; the curves come from a function, and nobody looks at its rows."""
    rows = [float(row) for row in range(8)]
    pq.write_table(pa.table({"features": [[row] for row in rows], "label": rows}), tmp_path / "nobody.parquet")
    nobody = rc.data.Parquet(str(tmp_path / "nobody.parquet"))
    learner = rc.MAML(lr=0.05, outer=rc.Optimizer("Adam", {"lr": 0.01}), outer_steps=2, episodes=2, tasks=CURVES)
    task = rc.Regression(rc.models.MLP(1, 1, hidden=(8,)))
    made = rc.Experiment(
        rc.MetaTask(task, learner, CURVES, 4),
        rc.Parties((rc.Agent("a", nobody, learner, val_fraction=0.0),)),
        (rc.Mean(),),
        rc.data.Holdout(nobody, "test", 0.5),
        run=rc.RunConfig(num_rounds=2, dir=str(tmp_path)),
        scaling=rc.ScalingConfig(pool="local"),
    )
    return made, rc.data.Holdout(nobody, "train", 0.5)


def ran(sweep):
    """The experiments that the trials had in their folders."""
    found = [max(Path(row["folder"]).glob("checkpoint_*")) / "experiment.yaml" for row in sweep.rows]
    return [read_experiment(str(path)) for path in found]


def test_inner_steps_order_and_meta_batch_are_swept(sinusoids, ray_cluster):
    """Each of the eight trials runs, and learns something else; what was measured before them is the same in all."""
    made, validation = sinusoids
    choices = {"steps": [1, 3], "order": [1, 2], "episodes": [2, 4]}
    space = {f"agents.members.0.learner.{name} task.learner.{name}": {"grid": each} for name, each in choices.items()}
    asked = Search(space, validation, "loss", "min", num_samples=1, scheduler="none", max_concurrent=1)
    sweep = search(made, asked)
    assert [(row["rounds"], row["error"]) for row in sweep.rows] == [(2, "")] * 8
    tried = [tuple(row["settings"][path] for path in space) for row in sweep.rows]
    assert sorted(tried) == sorted(product(*choices.values()))
    assert len({row["loss"] for row in sweep.rows}) == 8
    (winner,) = sweep.winner.members()
    assert (winner.learner.steps, winner.learner.order, winner.learner.episodes) == tried[0]
    measured = winner.learner.vectorised
    assert measured is not None
    found = [part for each in ran(sweep) for part in (each.members()[0].learner, each.task.learner)]
    assert {learner.vectorised for learner in found} == {measured}
    assert resume_search(sweep.path, (made, asked)).rows == sweep.rows  # what it leaves open was decided


def test_how_many_agents_share_steps_is_measured_once(tmp_path, ray_cluster):
    """Trials, winner and default have the number; asked for anew with null, the sweep is the same, with another not."""
    base = experiment(f"--run.dir={tmp_path}", "--scaling.agents_at_once=null")
    sweep = search(base, settings(scheduler="none", num_samples=1))
    measured = sweep.winner.scaling.agents_at_once
    assert measured is not None
    assert [each.scaling.agents_at_once for each in ran(sweep)] == [measured]
    assert read_experiment(f"{sweep.path}/winner.yaml").scaling.agents_at_once == measured
    asked = settings(scheduler="none", num_samples=1)
    assert resume_search(sweep.path, (base, asked)).rows == sweep.rows
    other = replace(base, scaling=replace(base.scaling, agents_at_once=measured + 1))
    with pytest.raises(ConfigError, match=r"scaling.agents_at_once: \d+ -> \d+"):
        resume_search(sweep.path, (other, asked))
