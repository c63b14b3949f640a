"""Run an experiment: locally, or with the driver and every host in a Ray actor of its own."""

import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

import ray
import torch
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raycollab.agent import Agent
from raycollab.callbacks import Callback
from raycollab.chains import Chain
from raycollab.checkpoint import RunFolder
from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from raycollab.data import Source
from raycollab.deploy import save_model
from raycollab.driver import Driver
from raycollab.errors import ConfigError, RunFolderError
from raycollab.experiment import Experiment, Plan, changed_settings
from raycollab.modes import Mode, Selection, Synchronous, Uniform
from raycollab.params import Exchange
from raycollab.population import Parties
from raycollab.report import model_card
from raycollab.result import Result, statistics_report
from raycollab.runtime.placement import Placement, cluster, num_cpus, place, wait_for_resources
from raycollab.runtime.pool import Layout, LocalPool
from raycollab.runtime.ray_pool import HostSpecs, RayPool, device
from raycollab.runtime.wire import Codec
from raycollab.task import Task
from raycollab.types import AgentCard, RoundReport, Started

Event = Started | RoundReport | Result


def fit(
    agents: Sequence[Agent],
    chain: Chain,
    *,
    test: Source,
    task: Task | None = None,
    exchange: Exchange = Exchange(),  # noqa: B008 - frozen
    mode: Mode = Synchronous(),  # noqa: B008
    select: Selection = Uniform(),  # noqa: B008
    codec: Codec | None = None,
    run: RunConfig = RunConfig(),  # noqa: B008
    scaling: ScalingConfig = ScalingConfig(),  # noqa: B008
    failure: FailureConfig = FailureConfig(),  # noqa: B008
    checkpoint: CheckpointConfig = CheckpointConfig(),  # noqa: B008
    callbacks: Sequence[Callback] = (),
    address: str | None = None,
    resume: str | None = None,
) -> Result:
    """Train one model with several agents.

    Args:
        agents: The parties.
        chain: How their updates are changed and merged, e.g. `chain(ClipNorm(10.0), Mean(), Momentum(0.9))`.
        test: The shared test set that no agent sees.
        task: What is learned; by default that of the first agent.
        exchange: Which parameters travel.
        mode: Who starts from which version.
        select: Who takes part in a round.
        codec: How vectors are encoded on the wire.
        run: What to run and when to stop.
        scaling: What it takes of the machine.
        failure: What to do when agents fail.
        checkpoint: What to keep.
        callbacks: What watches the run from this process.
        address: Ray cluster to use; None takes RAY_ADDRESS, the cluster of `ray.init()`, or this machine.
        resume: Run folder to continue instead of starting a new one.
    Returns: The result; everything else is in its folder.
    Raises: ConfigError, DataError, TaskMismatchError, ResourceError, ClusterError, QuorumError, RunFolderError.
    """
    members = Parties(tuple(agents))
    task = task or next((agent.task for agent in members.agents() if agent.task is not None), None)
    if task is None:
        raise ConfigError("fit: neither task= nor any agent's task is set; say what is learned")
    experiment = Experiment(task, members, chain.steps, test, exchange, mode, select, codec, run, scaling, failure, checkpoint)
    return run_experiment(experiment, callbacks=callbacks, address=address, resume=resume)


def run_experiment(
    experiment: Experiment, *, callbacks: Sequence[Callback] = (), address: str | None = None, resume: str | None = None
) -> Result:
    """Run an experiment, or continue one from its folder; see `fit`."""
    began = time.time()
    experiment = experiment.resolved()
    folder = _new_folder(experiment) if resume is None else _resumed_folder(experiment, resume)
    started = resume is not None
    events = _local_events if experiment.scaling.pool == "local" else _ray_events
    result: Result | None = None
    try:
        for event in events(experiment, folder, began, address):
            started = started or isinstance(event, RoundReport)
            result = event if isinstance(event, Result) else result
            _tell(callbacks, event)
    except BaseException:
        if not started and folder.storage.is_local:
            shutil.rmtree(folder.path, ignore_errors=True)  # nothing was run: leave no folder in the way
        raise
    if result is None:
        raise RunFolderError(f"{folder.path}: the driver ended without a result; continue with `raycollab resume {folder.path}`")
    return result


def _new_folder(experiment: Experiment) -> RunFolder:
    folder = RunFolder.create(experiment.run.dir, experiment.run.name)
    plain = experiment.to_plain()
    plain["run"]["name"] = folder.name
    folder.write_text("experiment.yaml", yaml.safe_dump(plain, sort_keys=False))
    return folder


def _resumed_folder(experiment: Experiment, path: str) -> RunFolder:
    folder = RunFolder.open(path)
    before = yaml.safe_load(folder.read_text("experiment.yaml"))
    changes = changed_settings(before, experiment.to_plain())
    if changes:
        listed = "\n".join(f"  {change}" for change in changes)
        raise RunFolderError(
            f"{folder.path}: the experiment is not the one that this folder holds:\n{listed}\n"
            f"Resume it as it was, or start a new run. Only run.num_rounds, target, patience and eval_every, scaling, failure "
            f"and checkpoint may change"
        )
    return folder


def _tell(callbacks: Sequence[Callback], event: Event) -> None:
    for callback in callbacks:
        match event:
            case Started():
                callback.on_start(event)
            case RoundReport():
                callback.on_round(event)
            case Result():
                callback.on_end(event)


def _local_events(experiment: Experiment, folder: RunFolder, began: float, address: str | None) -> Iterator[Event]:
    del address
    hosts = experiment.num_hosts(num_cpus=1)
    pool = LocalPool(
        experiment.session(),
        experiment.members(),
        num_blocks=experiment.run.num_blocks or 1,
        num_hosts=hosts,
        device="cuda" if experiment.scaling.gpus_per_host else "cpu",
        codec=experiment.codec,
    )
    yield from conduct(Driver(experiment.plan(), pool, folder), began)


def _ray_events(experiment: Experiment, folder: RunFolder, began: float, address: str | None) -> Iterator[Event]:
    with cluster(address):
        names = tuple(agent.name for agent in experiment.members())
        layout = Layout(names, experiment.run.num_blocks or 1, experiment.num_hosts(num_cpus()))
        placement = place(experiment.scaling, layout.num_hosts)
        wait_for_resources(placement, experiment.failure.start_timeout_s)
        specs = HostSpecs.put(layout, placement, experiment.session(), experiment.members(), experiment.codec)
        handles = [specs.start(host) for host in range(layout.num_hosts)]
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        options = DriverActor.options(num_cpus=0, num_gpus=placement.gpus_for_driver, scheduling_strategy=here)
        driver = options.remote(experiment.plan(), specs, handles, folder, began)
        try:
            for event in driver.events.remote():
                yield ray.get(event, timeout=experiment.failure.round_timeout_s)
        except ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None
        finally:
            for actor in (driver, *handles):
                ray.kill(actor)


@ray.remote
class DriverActor:
    """The driver in a process of its own."""

    def __init__(self, plan: Plan, specs: HostSpecs, handles: Sequence[ray.actor.ActorHandle], folder: RunFolder, began: float):
        self._began = began
        policy = plan.failure
        self._pool = RayPool(specs, handles, start_timeout_s=policy.start_timeout_s, round_timeout_s=policy.round_timeout_s)
        self._driver = Driver(plan, self._pool, folder, device(specs.placement.gpus_for_driver))

    def events(self) -> Iterator[Event]:
        """Run the experiment; what happens is streamed to the process that started it."""
        yield from conduct(self._driver, self._began)


def conduct(driver: Driver, began: float) -> Iterator[Event]:
    """Start, run all rounds, and write what is left to write into the run folder.

    Args:
        driver: The driver.
        began: When the run was asked for, in seconds since the epoch.
    """
    cards = driver.start()
    yield Started(
        path=driver.folder.path,
        fingerprint=driver.offer.fingerprint.digest(),
        num_params=driver.offer.spec.num_params,
        num_rounds=driver.plan.run.num_rounds,
        version=driver.version,
        cards=tuple(cards),
        seconds=time.time() - began,
    )
    yield from driver.rounds()
    yield _finish(driver, cards, began)


def _finish(driver: Driver, cards: Sequence[AgentCard], began: float) -> Result:
    folder, plan = driver.folder, driver.plan
    rows = folder.rows()
    agents = [agent for row in rows for agent in row["agent_rows"]]
    history = [{name: value for name, value in row.items() if name != "agent_rows"} for row in rows]
    metrics = driver.statistics.compute()
    seconds = time.time() - began
    report = statistics_report(driver.statistics)
    card = model_card(
        name=folder.name,
        task=type(plan.task).__name__,
        num_params=driver.offer.spec.num_params,
        metrics=metrics,
        cards=cards,
        rounds=len(history),
        report=report,
    )
    facts = {"versions": versions(), "metrics": metrics, "fingerprint": driver.offer.fingerprint.digest(), "input_shape": driver.input_shape()}
    save_model(folder.storage.child("model"), plan.task, driver.module(), card=card, facts=facts)
    folder.write_tables(history, agents)
    folder.write_text("report.txt", report + "\n")
    summary = {"metrics": metrics, "seconds": seconds, "rounds": len(history), "versions": versions(), "seed": plan.run.seed}
    folder.write_json("result.json", {**summary, "stop_reason": driver.stop_reason})
    return Result(folder.path, metrics, history, agents, driver.statistics, driver.stop_reason, seconds)


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    packages = ("raycollab", "ray", "torch", "numpy", "pyarrow")
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in packages:
        try:
            found.setdefault(package, version(package))
        except PackageNotFoundError:  # run from a checkout that was not installed
            found.setdefault(package, "unknown")
    return found
