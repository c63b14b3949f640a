"""A run on Ray, seen from the process that asked for it: the driver's actor and its hosts, and what becomes of them."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayTaskError
from ray.util import remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raycollab.announcement import NAMESPACE, announced
from raycollab.checkpoint import RunFolder
from raycollab.conduct import Event
from raycollab.config import FailureConfig
from raycollab.driver_actor import GROUPS, DriverActor
from raycollab.errors import ClusterError, Interrupted, ResourceError, RunFolderError
from raycollab.experiment import Experiment
from raycollab.interruption import Interruption
from raycollab.modes import Mode
from raycollab.runtime.placement import (
    Placement,
    available,
    cluster,
    full_disk,
    num_cpus,
    place,
    wait_for_resources,
)
from raycollab.runtime.ray_hosts import HostSpecs
from raycollab.signals import asked_by_signals
from raycollab.types import Notice, RoundReport

_SLICE_S = 0.5  # after which somebody who waits looks up, for signals
_FREE_NAME_S = 15.0  # that Ray may take to free the name of a dead driver
_EVERY_ROUND = 2**62
_STOP_S = 120.0  # that a driver may take to end, beyond its grace


def ray_events(experiment: Experiment, folder: RunFolder, began: float, address: str | None) -> Iterator[Event]:
    """What happens in a run on Ray, as it happens; a driver that dies is started again.

    Raises: ClusterError, ResourceError, and whatever ends the driver.
    """
    with cluster(address) as may_grow:
        layout = experiment.layout(num_cpus())
        placement = place(experiment.scaling, layout.num_hosts, layout.names)
        wait_for_resources(placement, experiment.failure.start_timeout_s if may_grow else 0.0)
        placement = placement.spread_out()
        specs = HostSpecs.put(layout, placement, experiment.session(), experiment.members())
        handles = [specs.start(host) for host in range(layout.num_hosts)]
        parts = [ray.put(part) for part in (experiment.plan(), specs, handles, folder)]
        interruption = Interruption()
        grace_s = experiment.failure.stop_grace_s
        try:
            with (
                announced(folder, ray.get_runtime_context().gcs_address),
                asked_by_signals(lambda: interruption.ask(grace_s)),
            ):
                yield from _restarted(experiment, parts, placement, handles, folder, began, interruption)
        except RayTaskError as error:
            raise (error.cause or error) from None
        finally:
            for handle in handles:
                ray.kill(handle)
            if placement.group is not None:
                remove_placement_group(placement.group)


def _restarted(
    experiment: Experiment,
    parts: Sequence[Any],
    placement: Placement,
    handles: Sequence[ActorHandle],
    folder: RunFolder,
    began: float,
    interruption: Interruption,
) -> Iterator[Event]:
    """The events of one driver after another, until one ends the run.

    Raises: ClusterError if max_driver_restarts in a row have died without a new round.
    """
    policy, newest, deaths = experiment.failure, 0, 0
    while True:
        driver = _start_driver(parts, placement, folder, began)
        try:
            for event in _streamed(driver, policy, experiment.mode, placement, interruption):
                if isinstance(event, RoundReport) and event.index > newest:
                    newest, deaths = event.index, 0
                yield event
            return
        except RayActorError as error:
            why = f"the driver's process died: {str(error).strip().splitlines()[0]}"
            deaths += 1
            if deaths > policy.max_driver_restarts or interruption.asked:
                raise ClusterError(f"{why}{full_disk()}") from error
            for handle in handles:
                handle.stop.remote(_EVERY_ROUND, 0, 0)
            yield Notice(f"{why}; another one goes on from the last durable round ({deaths} in a row)")
        finally:
            ray.kill(driver)


def _start_driver(parts: Sequence[Any], placement: Placement, folder: RunFolder, began: float) -> ActorHandle:
    """Start a driver on this node, under the name of its folder; returns at once.

    It may be elsewhere only for a GPU: Ray takes a preference for a node lightly where nothing is reserved.

    Raises: RunFolderError if the folder has a driver already.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=placement.gpus_for_driver > 0)
    reserve = {"num_cpus": 0, "num_gpus": placement.gpus_for_driver, "scheduling_strategy": here}
    kind = ray.remote(concurrency_groups=GROUPS, **reserve)(DriverActor)
    deadline = time.monotonic() + _FREE_NAME_S
    while True:
        try:
            return kind.options(name=folder.path, namespace=NAMESPACE).remote(list(parts), began)
        except ValueError as error:  # the name is taken
            if time.monotonic() > deadline:
                raise RunFolderError(
                    f"{folder.path}: it is being run on this cluster already; look at `raycollab status {folder.path}`"
                ) from error
            time.sleep(0.1)


def _streamed(
    driver: ActorHandle, policy: FailureConfig, mode: Mode, placement: Placement, interruption: Interruption
) -> Iterator[Event]:
    """The driver's events as they come; every wait has a limit.

    Raises: ResourceError if the driver cannot start; ClusterError if nothing is heard of it any more.
    """
    if not _waited_for(driver.__ray_ready__.remote(), policy.start_timeout_s, interruption):
        if interruption.asked:
            raise Interrupted("stopped before the driver had started")
        raise ResourceError(
            f"the driver did not start within start_timeout_s={policy.start_timeout_s:g}; it asks for "
            f"{placement.gpus_for_driver:g} GPU, available now: {available()}; lower ScalingConfig.gpus_for_driver or "
            f"wait until others have ended"
        )
    events, stopping = driver.events.remote(), False
    limit_s = longest_silence_s(policy, mode)
    while True:
        if interruption.asked and not stopping:  # also where events come so fast that there is never a wait
            driver.stop.remote(policy.stop_grace_s)
            stopping, limit_s = True, policy.stop_grace_s + _STOP_S
        if not _waited_for(events, limit_s, interruption, stopping):
            if interruption.asked and not stopping:
                continue
            raise ClusterError(f"nothing was heard of the driver for {limit_s:.0f} s; look at `ray status`")
        try:
            event = next(events)
        except StopIteration:
            return
        yield ray.get(event, timeout=limit_s)


def _waited_for(ref: Any, limit_s: float, interruption: Interruption, stopping: bool = False) -> bool:
    """Whether something is there within a time; a request to stop ends the wait, unless one is under way already."""
    deadline = time.monotonic() + limit_s
    while not ray.wait([ref], timeout=_SLICE_S)[0]:
        if time.monotonic() > deadline or (interruption.asked and not stopping):
            return False
    return True


def longest_silence_s(policy: FailureConfig, mode: Mode) -> float:
    """How long a driver may be quiet: all that it may wait for itself, or an hour of its own work."""
    waits = policy.max_attempts * mode.horizon + 2  # each attempt runs the agents of one version after another
    return max(3600.0, waits * (policy.round_timeout_s + 2 * policy.start_timeout_s))
