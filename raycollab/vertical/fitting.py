"""fit(): train a net that is split over parties with different columns of the same people."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import yaml

from raycollab.checkpoint import RunFolder
from raycollab.conduct import versions
from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from raycollab.continuation import changed_settings
from raycollab.errors import ResourceError, RunFolderError
from raycollab.fusion import Concatenation, Fusion
from raycollab.interruption import Interruption
from raycollab.signals import asked_by_signals
from raycollab.task import Task
from raycollab.vertical.driver import VerticalDriver
from raycollab.vertical.experiment import Vertical
from raycollab.vertical.party import Party
from raycollab.vertical.plan import Plan
from raycollab.vertical.ray_sides import sides_on_ray
from raycollab.vertical.result import VerticalResult, report
from raycollab.vertical.rows import HeldOut
from raycollab.vertical.sides import LocalSides, Sides

Watch = Callable[[Mapping[str, Any]], object]


def fit(
    parties: Sequence[Party],
    task: Task,
    *,
    fusion: Fusion = Concatenation(),  # noqa: B008 - frozen
    test: HeldOut = HeldOut(),  # noqa: B008
    batch_size: int = 128,
    run: RunConfig = RunConfig(),  # noqa: B008
    scaling: ScalingConfig = ScalingConfig(),  # noqa: B008
    failure: FailureConfig = FailureConfig(),  # noqa: B008
    checkpoint: CheckpointConfig = CheckpointConfig(),  # noqa: B008
    watch: Watch = lambda row: None,
    address: str | None = None,
    resume: str | None = None,
) -> VerticalResult:
    """Train one net that is split over parties, each with its own columns of the same people.

    Rows are brought together by salted hashes of their ids (raycollab.vertical.rows says what that protects); those
    that are not at all parties are left out. In each step every party sends what its net makes of a batch to the party
    with the labels, and gets back the gradient of the loss; each learns by its own optimizer. Every party is needed: if
    one dies or is late, the run ends with an error, and can be resumed from its newest checkpoint to the same bits. The
    run folder must be a place that all parties can write to.

    Args:
        parties: At least two, one of which has the labels.
        task: The loss and the metrics, such as rc.Classification; its net is the head, over the fused vector.
        fusion: Makes one vector of the parties' activations.
        test: Which of the common rows nobody trains on.
        batch_size: Rows of a batch.
        run: What to run and when to stop; a round is a pass over the common rows.
        scaling: What it takes of the machine; each party is an actor of its own.
        failure: How long to wait.
        checkpoint: What to keep.
        watch: Called with the row of each round, as it will be in rounds.parquet.
        address: Ray cluster to use; None takes RAY_ADDRESS, the cluster of `ray.init()`, or this machine.
        resume: Run folder to continue instead of starting a new one.
    Raises: ConfigError, DataError, ModelError, UpdateError, QuorumError, ResourceError, ClusterError, RunFolderError;
        Interrupted after SIGTERM or Ctrl-C, with what was committed kept.
    """
    began = time.time()
    plan = Plan(task, fusion, test, batch_size, run.seed, scaling.threads_per_host)
    experiment = Vertical(tuple(parties), plan, run, scaling, failure, checkpoint)
    folder = _new_folder(experiment) if resume is None else _resumed_folder(experiment, resume)
    interruption = Interruption()
    try:
        with (
            asked_by_signals(lambda: interruption.ask(failure.stop_grace_s)),
            _sides(experiment, address) as sides,
        ):
            driver = VerticalDriver(experiment, sides, folder, interruption)
            driver.start()
            for row in driver.rounds():
                watch(row)
            return _finish(driver, sides, began)
    except BaseException as error:
        if resume is not None or folder.checkpoints():
            error.add_note(f"what was committed is kept; continue with rc.vertical.fit(..., resume={folder.path!r})")
        elif folder.storage.is_local:
            shutil.rmtree(folder.path, ignore_errors=True)  # nothing was run: leave no folder in the way
        raise


@contextmanager
def _sides(experiment: Vertical, address: str | None) -> Iterator[Sides]:
    scaling = experiment.scaling
    if scaling.pool == "ray":
        with sides_on_ray(experiment, address) as sides:
            yield sides
        return
    if scaling.gpus_per_host and not torch.cuda.is_available():
        raise ResourceError(
            f"ScalingConfig.gpus_per_host={scaling.gpus_per_host:g} with pool='local' asks for a GPU of this machine, "
            f"and torch {torch.__version__} sees 0; set it to 0"
        )
    yield LocalSides(experiment.parties, experiment.plan, "cuda" if scaling.gpus_per_host else "cpu")


def _new_folder(experiment: Vertical) -> RunFolder:
    folder = RunFolder.create(experiment.run.dir, experiment.run.name)
    folder.write_text("experiment.yaml", yaml.safe_dump(experiment.to_plain(), sort_keys=False))
    return folder


def _resumed_folder(experiment: Vertical, path: str) -> RunFolder:
    folder = RunFolder.open(path)
    changes = changed_settings(yaml.safe_load(folder.read_text("experiment.yaml")), experiment.to_plain())
    if changes:
        listed = "\n".join(f"  {change}" for change in changes)
        raise RunFolderError(
            f"{folder.path}: the run is not the one that this folder holds:\n{listed}\nResume it as it was, or start a "
            f"new one. Only run.num_rounds, target, patience and eval_every, scaling, failure and checkpoint may change"
        )
    return folder


def _finish(driver: VerticalDriver, sides: Sides, began: float) -> VerticalResult:
    folder, scores, seconds = driver.folder, driver.scores, time.time() - began
    history = folder.rows()
    sides.write(folder.storage)
    folder.write_tables(rounds=history)
    folder.write_text("report.txt", report(driver.aligned, scores.text) + "\n")
    summary = {"metrics": dict(scores.metrics), "seconds": seconds, "rounds": driver.round, "versions": versions()}
    folder.write_json("result.json", {**summary, "seed": driver.experiment.run.seed, "stop_reason": driver.stop_reason})
    return VerticalResult(
        folder.path, scores.metrics, history, driver.aligned, driver.stop_reason, seconds, scores.text
    )
