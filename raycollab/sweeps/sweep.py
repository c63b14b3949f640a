"""A sweep: trials by Ray Tune, as many at once as fit, and what they found."""

import json
import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import tune

from raycollab.checkpoint import RunFolder
from raycollab.deploy import TrainedModel
from raycollab.errors import ConfigError, ResourceError, RunFolderError
from raycollab.experiment import Experiment
from raycollab.experiment_file import to_yaml
from raycollab.fitting import run_experiment
from raycollab.result import Result
from raycollab.runtime.placement import Placement, cluster, num_cpus, place, wait_for_resources
from raycollab.runtime.session import build_model
from raycollab.shared_set import SharedSet
from raycollab.spec import BUFFERS, PARAMS
from raycollab.sweeps.checks import checked
from raycollab.sweeps.choosing import beginnings, checkpoints_kept, loggers, scheduler, searcher
from raycollab.sweeps.files import SETTINGS, plain, refuse_another, written
from raycollab.sweeps.report import draw, draw_weights, table
from raycollab.sweeps.settings import Search
from raycollab.sweeps.trial import EXAMPLES, UPDATES, at, run_trial

_WINNER, _PICTURE, _WEIGHTS, _TRIALS = "winner.yaml", "trials.png", "weights.png", "trials.json"
_FROM_TUNE = (  # warnings at which nobody who sweeps can do anything
    "lbfgs failed to converge",  # PB2's model of few points
    "The optimal value found for dimension",
    "scipy.optimize: The `disp` and `iprint` options",
)


@dataclass(frozen=True)
class Sweep:
    """What a sweep found; the rest is in its folder.

    Args:
        grid: Every trial as Ray Tune keeps it.
        winner: The experiment at the best trial's settings, with its own test set.
        settings: The best trial's; under "pbt" and "pb2" those that it ended with, and did not have in all its rounds.
        metric: What was compared.
        rows: A row a trial, best first: settings, metric, rounds, cost, error, folder.
        path: The sweep's folder.
    """

    grid: tune.ResultGrid
    winner: Experiment
    settings: Mapping[str, Any]
    metric: str
    rows: Sequence[Mapping[str, Any]]
    path: str

    def report(self) -> str:
        """The trials, best first, and what all of them cost."""
        return table(self.rows, self.metric)

    def model(self) -> TrainedModel:
        """The best trial's model as it ended; what a population has found is this, and no settings alone."""
        version, state = _newest(self.rows[0]).latest_checkpoint()  # type: ignore[misc]
        vectors, task = state["vectors"][str(version)], self.winner.task
        flat = build_model(task, self.winner.exchange, self.winner.run.seed)
        flat.load(vectors[PARAMS], vectors[BUFFERS])
        reader = SharedSet(self.winner.test, task, "cpu").reader()
        return TrainedModel(flat.module.eval(), task, reader)

    def compare(self, address: str | None = None) -> tuple[Result, Result]:
        """Train the winner as it was swept, and the experiment as it stood for as many agents' updates as all trials.

        Returns: Both results, winner first, on the test set, which neither was chosen by.
        """
        experiment, _ = written(Path(self.path))
        spent = sum(row[UPDATES] for row in self.rows)
        rounds = -(-spent // (experiment.resolved().run.agents_per_round or 1))
        longer = replace(experiment.run, num_rounds=max(rounds, 1), target=None, patience=None)
        runs = [(self.winner, self.winner.run, "winner"), (experiment, longer, "default")]
        found = [
            run_experiment(replace(each, run=replace(run, dir=self.path, name=name)), address=address)
            for each, run, name in runs
        ]
        return found[0], found[1]


def search(experiment: Experiment, settings: Search, *, address: str | None = None) -> Sweep:
    """Try an experiment at many settings, scored on a validation set; the test set stays unseen.

    Args:
        experiment: What is tried; its run.dir and run.name say where the sweep's folder is. With scaling.pool "local"
            a trial is one process, which is cheapest for small ones; with "ray" its agents have actors of their own.
        settings: What is tried, and how it is chosen.
        address: Ray cluster to use, as in `fit`.
    Raises: ConfigError, DataError or ResourceError before the first trial; RunFolderError if every trial failed.
    """
    text, metric, mode = checked(experiment, settings)
    with cluster(address):
        fits = _Fit.of(experiment)
        path = _new_folder(experiment, settings)
        most = min(settings.max_concurrent or fits.at_once, fits.at_once)
        tuner = tune.Tuner(
            fits.trainable(text),
            param_space=beginnings(settings, text),
            tune_config=tune.TuneConfig(
                metric=metric,
                mode=mode,
                num_samples=settings.num_samples,
                search_alg=searcher(settings, most),
                scheduler=scheduler(settings, experiment.run.num_rounds),
                max_concurrent_trials=None if settings.searcher == "random" else most,
                time_budget_s=settings.budget_s,
                reuse_actors=True,  # a process takes seconds to start, and all trials need the same
            ),
            run_config=tune.RunConfig(
                name=path.name,
                storage_path=str(path.parent),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=checkpoints_kept(settings)),
                callbacks=loggers(settings, path.name),
                verbose=0,
            ),
        )
        return _found(_fitted(tuner), experiment, metric, mode, path)


def resume_search(path: str, asked: tuple[Experiment, Search] | None = None, *, address: str | None = None) -> Sweep:
    """Finish a sweep that was cut off, without repeating trials that had ended; failed ones are tried again.

    Args:
        path: The sweep's folder. Ray Tune unpickles what is in it, so it must belong to the user who runs this.
        asked: What it is expected to be.
        address: Ray cluster to use.
    Raises: RunFolderError if it is no sweep, or another user's; ConfigError if another one was expected.
    """
    folder = Path(path).expanduser().absolute()
    if not (folder / SETTINGS).exists():
        raise RunFolderError(
            f"{folder} is no sweep: it has no {SETTINGS}; give the folder of one, such as runs/sweep-001"
        )
    strange = [each for each in (folder, *folder.rglob("*")) if each.stat().st_uid != os.getuid()]
    if strange:
        raise RunFolderError(
            f"{strange[0]} belongs to another user: Ray Tune would run what is pickled there; resume it as its owner"
        )
    experiment, settings = written(folder)
    if asked is not None:
        refuse_another(folder, asked)
    text, metric, mode = checked(experiment, settings)
    with cluster(address):
        if not tune.Tuner.can_restore(str(folder)):
            raise RunFolderError(
                f"{folder}: it was cut off before its first trial; delete it and start the sweep again"
            )
        trainable = _Fit.of(experiment).trainable(text)
        tuner = tune.Tuner.restore(str(folder), trainable=trainable, resume_unfinished=True, resume_errored=True)
        return _found(_fitted(tuner), experiment, metric, mode, folder)


@dataclass(frozen=True)
class _Fit:
    """What a trial takes of the cluster, and how many of them fit."""

    placement: Placement | None
    bundles: tuple[Mapping[str, float], ...]
    at_once: int

    @classmethod
    def of(cls, experiment: Experiment) -> "_Fit":
        """From the settings that the trial's actors are made of.

        Raises: ResourceError, with what one trial needs and what there is, if not even one fits.
        """
        scaling = experiment.scaling
        if scaling.pool == "local":
            gpus = max(scaling.gpus_per_host, scaling.gpus_for_driver)
            needs = Placement(1, float(scaling.threads_per_host), gpus, 0.0)
            wait_for_resources(needs, 0.0)
            return cls(None, (_bundle(needs.cpus_per_host, gpus),), _most(needs))
        placement = place(scaling, experiment.num_hosts(num_cpus()))
        wait_for_resources(placement, 0.0)
        host = _bundle(placement.cpus_per_host, placement.gpus_per_host)
        head = _bundle(0.0, placement.gpus_for_driver)
        hosts = (host,) * placement.num_hosts if host else ()
        return cls(placement, (head, *hosts), _most(placement))

    def trainable(self, text: str) -> Any:
        """The trial with its placement group: all of it is there, or the trial waits."""
        device = "cuda" if self.placement is None and self.bundles[0].get("GPU") else "cpu"
        group = tune.PlacementGroupFactory([dict(bundle) for bundle in self.bundles])
        return tune.with_resources(partial(run_trial, text, self.placement, device, os.getcwd()), group)


def _bundle(cpus: float, gpus: float) -> dict[str, float]:
    return {name: amount for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount}


def _most(placement: Placement) -> int:
    has = ray.cluster_resources()
    shares = [has.get(name, 0.0) / amount for name, amount in placement.needs().items() if amount]
    most = math.floor(min(shares, default=float(num_cpus())) + 1e-9)
    if most < 1:
        raise ResourceError(
            f"a trial needs {placement.needs()}, and the cluster has {has}; lower what ScalingConfig asks"
        )
    return most


def _fitted(tuner: tune.Tuner) -> tune.ResultGrid:
    """Run the trials, without warnings at each round: it is short, and PB2 models few points."""
    logger = logging.getLogger("ray.tune.execution.experiment_state")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for text in _FROM_TUNE:
                warnings.filterwarnings("ignore", text)
            return tuner.fit()
    finally:
        logger.setLevel(before)


def _new_folder(experiment: Experiment, settings: Search) -> Path:
    if "://" in experiment.run.dir:
        raise ConfigError(f"RunConfig.dir={experiment.run.dir!r}: a sweep's folder must be a local or mounted path")
    parent = Path(experiment.run.dir).expanduser().absolute()
    parent.mkdir(parents=True, exist_ok=True)
    taken = [int(each.name[6:]) for each in parent.glob("sweep-*") if each.name[6:].isdecimal()]
    path = parent / (experiment.run.name or f"sweep-{max(taken, default=0) + 1:03d}")
    try:
        path.mkdir()
    except FileExistsError as error:
        raise RunFolderError(f"{path} exists already: resume it with `raycollab tune --resume {path}`") from error
    (path / SETTINGS).write_text(yaml.safe_dump(plain(experiment, settings), sort_keys=False))
    return path


def _found(grid: tune.ResultGrid, experiment: Experiment, metric: str, mode: str, path: Path) -> Sweep:
    """What came out, written into the sweep's folder."""
    rows = sorted((_row(result, metric) for result in grid), key=lambda row: row["folder"])  # resumed: in another order
    best = [row for row in rows if row[metric] is not None]
    if not best:
        raise RunFolderError(f"{path}: every trial failed, the first with: {rows[0]['error']}")
    rows = sorted(best, key=lambda row: row[metric], reverse=mode == "max") + [r for r in rows if r[metric] is None]
    settings = rows[0]["settings"]
    winner = at(to_yaml(experiment), settings)
    (path / _WINNER).write_text(to_yaml(winner))
    (path / _TRIALS).write_text(json.dumps(rows, indent=2))
    draw(rows, metric, path / _PICTURE)
    if winner.rule.validates_on() is not None:  # else the weights that stand in its rounds are not those it merged by
        draw_weights(_newest(rows[0]).rows(), path / _WEIGHTS)
    return Sweep(grid, winner, settings, metric, rows, str(path))


def _newest(row: Mapping[str, Any]) -> RunFolder:
    """A trial's run, as its last report left it."""
    return RunFolder.open(str(max(Path(row["folder"]).glob("checkpoint_*"))))


def _row(result: tune.Result, metric: str) -> dict[str, Any]:
    metrics = result.metrics or {}
    value = metrics.get(metric)
    lines = str(result.error).strip().splitlines() if result.error else [""]
    return {
        "settings": dict(result.config or metrics.get("config", {})),
        metric: value if value is not None and math.isfinite(value) else None,
        "rounds": metrics.get("round", 0),
        UPDATES: metrics.get(UPDATES, 0),
        EXAMPLES: metrics.get(EXAMPLES, 0),
        "seconds": metrics.get("time_total_s", 0.0),
        "error": lines[-1],
        "folder": result.path,
    }
