"""Run an experiment: locally, or with the driver and every host in a Ray actor of its own."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence

import torch
import yaml

from raycollab.agent import Agent
from raycollab.attacks import Attack
from raycollab.by_name import listed
from raycollab.callbacks import Callback
from raycollab.chains import Chain, as_chain
from raycollab.checkpoint import RunFolder
from raycollab.codecs import Codec
from raycollab.conduct import Event, conduct
from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from raycollab.continuation import changed_settings
from raycollab.data import Source
from raycollab.driver import Driver
from raycollab.episode_speed import decided
from raycollab.errors import ConfigError, ResourceError, RunFolderError
from raycollab.experiment import Experiment
from raycollab.growth import Growth
from raycollab.modes import Mode, Synchronous
from raycollab.on_ray import ray_events
from raycollab.params import Exchange
from raycollab.population import Parties, Population
from raycollab.result import Result, ended_result
from raycollab.runtime.pool import LocalPool
from raycollab.selection import Selection, Uniform
from raycollab.signals import asked_by_signals
from raycollab.speed import measured
from raycollab.task import Task
from raycollab.types import Begun, Notice, RoundReport, Started, Step

_JOB_FOLDERS = "/runtime_resources/working_dir_files/"  # where Ray unpacks a job's --working-dir


def fit(
    agents: Sequence[Agent] | Population,
    chain: Chain | Step | Sequence[Step],
    *,
    test: Source,
    task: Task | None = None,
    exchange: Exchange | str = Exchange(),  # noqa: B008 - frozen
    mode: Mode = Synchronous(),  # noqa: B008
    select: Selection = Uniform(),  # noqa: B008
    upload: Codec | None = None,
    broadcast: Codec | None = None,
    run: RunConfig = RunConfig(),  # noqa: B008
    scaling: ScalingConfig = ScalingConfig(),  # noqa: B008
    failure: FailureConfig = FailureConfig(),  # noqa: B008
    checkpoint: CheckpointConfig = CheckpointConfig(),  # noqa: B008
    attack: Attack = Attack(),  # noqa: B008
    growth: Growth | None = None,
    callbacks: Sequence[Callback] = (),
    address: str | None = None,
    resume: str | None = None,
) -> Result:
    """Train one model with several agents.

    Args:
        agents: The parties.
        chain: How their updates are changed and merged, e.g. `chain(ClipNorm(10.0), Mean(), Momentum(0.9))`; one rule
            such as `Mean()`, or a list of steps, will do.
        test: The shared test set that no agent sees.
        task: What is learned; by default that of the first agent.
        exchange: Which parameters travel: an Exchange, "all" or "adapters".
        mode: Who starts from which version.
        select: Who takes part in a round.
        upload: How hosts write what they send.
        broadcast: How the driver writes what it sends.
        run: What to run and when to stop.
        scaling: What it takes of the machine.
        failure: What to do when agents fail.
        checkpoint: What to keep.
        attack: Which of the agents misbehave, and how: for testing a rule.
        growth: In which smaller forms the task's net begins, and when it grows.
        callbacks: What watches the run from this process.
        address: Ray cluster to use; None takes RAY_ADDRESS, the cluster of `ray.init()`, or this machine.
        resume: Run folder to continue instead of starting a new one.
    Returns: The result; everything else is in its folder.
    Raises: ConfigError, DataError, TaskMismatchError, ResourceError, ClusterError, QuorumError, RunFolderError;
        Interrupted after SIGTERM or Ctrl-C, with what was committed kept.
    """
    members = agents if isinstance(agents, Population) else Parties(tuple(agents))
    task = task or next((agent.task for agent in members.agents() if agent.task is not None), None)
    if task is None:
        raise ConfigError("fit: neither task= nor any agent's task is set; say what is learned")
    experiment = Experiment(
        task,
        members,
        as_chain(chain).steps,
        test,
        Exchange.of(exchange) if isinstance(exchange, str) else exchange,
        mode,
        select,
        upload,
        broadcast,
        run,
        scaling,
        failure,
        checkpoint,
        attack,
        growth,
    )
    return run_experiment(experiment, callbacks=callbacks, address=address, resume=resume)


def run_experiment(
    experiment: Experiment, *, callbacks: Sequence[Callback] = (), address: str | None = None, resume: str | None = None
) -> Result:
    """Run an experiment, or continue one from its folder; see `fit`."""
    began = time.time()
    experiment, measurement = measured(experiment.resolved())
    experiment, of_episodes = decided(experiment)
    folder = _new_folder(experiment) if resume is None else _resumed_folder(experiment, resume)
    ended = None if resume is None else ended_result(folder, experiment.run, experiment.task)
    if ended is not None:
        _tell(callbacks, _begun(experiment, (_nothing_left(ended),), pool=""))
        _tell(callbacks, ended)
        return ended
    events = _local_events if experiment.scaling.pool == "local" else ray_events
    result: Result | None = None
    try:
        notes = (*_attackers(experiment), *(note for note in (measurement, of_episodes) if note))
        _tell(callbacks, _begun(experiment, notes, pool=experiment.scaling.pool))
        for event in events(experiment, folder, began, address):
            result = event if isinstance(event, Result) else result
            _tell(callbacks, event)
    except BaseException as error:
        if resume is not None or folder.rows():
            error.add_note(f"what was committed is kept; continue with `raycollab resume {folder.path}`")
        elif folder.storage.is_local:
            shutil.rmtree(folder.path, ignore_errors=True)  # nothing was run: leave no folder in the way
        raise
    if result is None:
        raise RunFolderError(
            f"{folder.path}: the driver ended without a result; continue with `raycollab resume {folder.path}`"
        )
    return result


def _new_folder(experiment: Experiment) -> RunFolder:
    place = os.path.expanduser(experiment.run.dir)
    if _JOB_FOLDERS in os.getcwd() and "://" not in place and not os.path.isabs(place):
        raise ConfigError(
            f"RunConfig.dir={experiment.run.dir!r} is inside this Ray job's working folder, which Ray deletes with its "
            f"cache; give an absolute path or a URI, such as --run.dir=/shared/runs"
        )
    folder = RunFolder.create(experiment.run.dir, experiment.run.name)
    plain = experiment.to_plain()
    plain["run"]["name"] = folder.name
    folder.write_text("experiment.yaml", yaml.safe_dump(plain, sort_keys=False))
    return folder


def _resumed_folder(experiment: Experiment, path: str) -> RunFolder:
    folder = RunFolder.open(path)
    before, after = yaml.safe_load(folder.read_text("experiment.yaml")), experiment.to_plain()
    changes = changed_settings(before, after)
    if changes:
        listed = "\n".join(f"  {change}" for change in changes)
        raise RunFolderError(
            f"{folder.path}: the experiment is not the one that this folder holds:\n{listed}\n"
            f"Resume it as it was, or start a new run. Only run.num_rounds, target, patience, eval_every and max_harm, "
            f"scaling, failure and checkpoint, but for its ledger and updates, may change"
        )
    after["run"] |= {name: before["run"][name] for name in ("name", "dir")}
    if after != before:  # so that it can be resumed again as it goes on now
        folder.write_text("experiment.yaml", yaml.safe_dump(after, sort_keys=False))
    return folder


def _begun(experiment: Experiment, notes: tuple[str, ...], pool: str) -> Begun:
    learners = {agent.name: type(agent.learner).__name__ for agent in experiment.members()}
    return Begun(pool, learners, notes, tuple(experiment.warnings()) if pool else ())


def _attackers(experiment: Experiment) -> tuple[str, ...]:
    bad = experiment.misbehaving()
    if not bad:
        return ()
    verb = "misbehaves" if len(bad) == 1 else "misbehave"
    return (f"{listed(bad)} {verb}: {experiment.attack.kind}",)


def _nothing_left(result: Result) -> str:
    kind = result.stop_reason.split("=")[0].split()[0]
    remedies = {
        "num_rounds": f"give --run.num_rounds > {result.num_rounds}",
        "target": "give another --run.target, or --run.target=null for all rounds,",
    }
    remedy = remedies.get(kind, "give a larger --run.patience")
    return f"already finished after {result.num_rounds} rounds: {result.stop_reason}; {remedy} to go further"


def _tell(callbacks: Sequence[Callback], event: Begun | Event) -> None:
    for callback in callbacks:
        match event:
            case Begun():
                callback.on_begin(event)
            case Started():
                callback.on_start(event)
            case RoundReport():
                callback.on_round(event)
            case Notice():
                callback.on_notice(event)
            case Result():
                callback.on_end(event)


def _local_events(experiment: Experiment, folder: RunFolder, began: float, address: str | None) -> Iterator[Event]:
    del address
    on = _local_device("gpus_per_host", experiment.scaling.gpus_per_host)
    pool = LocalPool(experiment.session(), experiment.members(), experiment.layout(num_cpus=1), on)
    device = _local_device("gpus_for_driver", experiment.scaling.gpus_for_driver)
    driver = Driver(experiment.plan(), pool, folder, device)
    with asked_by_signals(lambda: driver.interruption.ask(experiment.failure.stop_grace_s)):
        yield from conduct(driver, began)


def _local_device(setting: str, gpus: float) -> str:
    if gpus and not torch.cuda.is_available():
        raise ResourceError(
            f"ScalingConfig.{setting}={gpus:g} with pool='local' asks for a GPU of this machine, and torch "
            f"{torch.__version__} sees 0; set it to 0, or install a CUDA build of torch where there is one"
        )
    return "cuda" if gpus else "cpu"
