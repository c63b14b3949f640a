"""A sweep: trials by Ray Tune, as many at once as fit, and what they found."""

import json
import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from ray import tune

from raycollab.checkpoint import RunFolder
from raycollab.deploy import TrainedModel
from raycollab.episode_speed import decided
from raycollab.errors import ConfigError, RunFolderError
from raycollab.experiment import Experiment
from raycollab.experiment_file import to_yaml
from raycollab.fitting import run_experiment
from raycollab.result import Result
from raycollab.runtime.placement import cluster
from raycollab.runtime.session import build_model
from raycollab.shared_set import SharedSet
from raycollab.spec import BUFFERS, PARAMS
from raycollab.speed import measured
from raycollab.sweeps.checks import checked, tried
from raycollab.sweeps.choosing import beginnings, checkpoints_kept, loggers, scheduler, searcher
from raycollab.sweeps.files import SETTINGS, plain, refuse_another, written
from raycollab.sweeps.report import EXAMPLES, UPDATES, cost, draw, draw_weights, shares, table
from raycollab.sweeps.room import Room, Watch
from raycollab.sweeps.settings import Search
from raycollab.sweeps.trial import at

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
        shares: Each agent's share of the weight in the best trial's last round, as its rule gave it; they sum to 1.
            Empty if the rule goes by more than one weight for each, or by none.
    """

    grid: tune.ResultGrid
    winner: Experiment
    settings: Mapping[str, Any]
    metric: str
    rows: Sequence[Mapping[str, Any]]
    path: str
    shares: Mapping[str, float] = field(default_factory=dict)

    def report(self) -> str:
        """The trials, best first, what all of them cost, and how the best one weighs the agents."""
        return table(self.rows, self.metric, self.shares)

    def model(self) -> TrainedModel:
        """The best trial's model as it ended; what a population has found is this, and no settings alone."""
        version, state = _newest(self.rows[0]).latest_checkpoint()  # type: ignore[misc]
        vectors, task = state["vectors"][str(version)], self.winner.task
        flat = build_model(task, self.winner.exchange, self.winner.run.seed)
        flat.load(vectors[PARAMS], vectors[BUFFERS])
        reader = SharedSet(self.winner.test, task, "cpu").reader()
        return TrainedModel(flat.module.eval(), task, reader)

    def compare(self, address: str | None = None) -> tuple[Result, Result]:
        """Train the winner as it was swept, and the experiment as it stood on as many examples as all trials together.

        Examples count anew in each pass, as an update of one may be several of the other's.

        Returns: Both results, winner first, on the test set, which neither was chosen by.
        """
        run = replace(self.winner.run, dir=self.path, name="winner")
        winner = run_experiment(replace(self.winner, run=run), address=address)
        experiment, _ = written(Path(self.path))
        return winner, self._as_costly(experiment, address)

    def _as_costly(self, experiment: Experiment, address: str | None) -> Result:
        """Train on no fewer examples than all trials: a round, and on from there to as many as those so far say.

        A run that ends before, as its agents' privacy is spent, is left as it ended.
        """
        examples, rounds = sum(row[EXAMPLES] for row in self.rows), 1
        run = replace(experiment.run, dir=self.path, name="default", num_rounds=1, target=None, patience=None)
        result = run_experiment(replace(experiment, run=run), address=address)
        while (done := cost(result.agents)[EXAMPLES]) < examples and result.num_rounds == rounds:
            rounds = min(-(-examples * rounds // max(done, 1)), 2 * rounds)  # one may have been a small one
            longer = replace(experiment, run=replace(run, num_rounds=rounds))
            result = run_experiment(longer, address=address, resume=result.path)
        return result


def search(experiment: Experiment, settings: Search, *, address: str | None = None) -> Sweep:
    """Try an experiment at many settings, scored on a validation set; the test set stays unseen.

    Args:
        experiment: What is tried; its run.dir and run.name say where the sweep's folder is. With scaling.pool "local"
            a trial is one process, which is cheapest for small ones; with "ray" its agents have actors of their own.
        settings: What is tried, and how it is chosen.
        address: Ray cluster to use, as in `fit`.
    Raises: ConfigError, DataError or ResourceError before the first trial; RunFolderError if every trial failed.
    """
    _, metric, mode = checked(experiment, settings)
    experiment = decided(measured(experiment)[0])[0]  # once: trials, winner and default are computed alike
    text = tried(experiment, settings)
    with cluster(address):
        room = Room.of(experiment)
        path = _new_folder(experiment, settings)
        most = min(settings.max_concurrent or room.at_once, room.at_once)
        tuner = tune.Tuner(
            room.trainable(text),
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
                callbacks=[*loggers(settings, path.name), Watch(room)],
                verbose=0,
            ),
        )
        return _found(_fitted(tuner, room), experiment, metric, mode, path)


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
        room = Room.of(experiment)
        trainable = room.trainable(text)
        tuner = tune.Tuner.restore(str(folder), trainable=trainable, resume_unfinished=True, resume_errored=True)
        return _found(_fitted(tuner, room), experiment, metric, mode, folder)


def _fitted(tuner: tune.Tuner, room: Room) -> tune.ResultGrid:
    """Run the trials, without warnings at each round: it is short, and PB2 models few points."""
    room.look()
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
    rounds = _newest(rows[0]).rows() if winner.rule.weighs else []
    if rounds:
        draw_weights(rounds, path / _WEIGHTS)
    return Sweep(grid, winner, settings, metric, rows, str(path), shares(rounds[-1]["agent_rows"]) if rounds else {})


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
