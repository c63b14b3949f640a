"""Which Ray cluster a run uses, and whether it has what the run asks for."""

import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import AuthenticationError
from ray.util import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raycollab.config import ScalingConfig
from raycollab.errors import ClusterError, ResourceError
from raycollab.runtime.parties import PARTY, held_twice, missing
from raycollab.runtime.reaching import TOKEN_RECIPE, introduce, knock

FULL = 0.95  # of a disk, from where Ray stores nothing on it any more
_LEAST = 0.001  # CPUs of a bundle of a placement group, which may not be empty
_NOBODY = (
    "check the address (RAY_ADDRESS or --address) with `ray status --address {address}` on its head, or leave it out "
    "to run on this machine"
)
_VERSION_RECIPE = """Ray and Python, up to its minor version, must be the same everywhere; install the cluster's here:
    pip install "ray[default,tune]==VERSION"     in an environment of its Python"""


@contextmanager
def cluster(address: str | None = None) -> Iterator[bool]:
    """Use a Ray cluster, and leave it as it was found; yields whether more nodes may join it.

    An address, or RAY_ADDRESS (which a Ray job sets), attaches to that cluster; `ray.init()` that was called before
    is kept; otherwise a cluster is started on this machine, and never one of somebody else's attached to.

    Raises: ClusterError if the cluster cannot be reached, with the remedy.
    """
    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", here):
            raise ClusterError(
                f"address={address!r}: this process is attached to the Ray cluster at {here} already; "
                f"leave the address out to use that one, or call ray.shutdown() first"
            )
        yield len(_nodes()) > 1
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    knock(address, _NOBODY.format(address=address))
    introduce(address)
    try:
        if address == "local":
            with _quiet_about_tokens():
                ray.init(address="local", include_dashboard=False, configure_logging=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, AuthenticationError, RuntimeError, ValueError) as error:
        raise ClusterError(_explained(address, error)) from error
    try:
        yield address != "local"
    finally:
        ray.shutdown()


@contextmanager
def _quiet_about_tokens() -> Iterator[None]:
    """Keep off the screen that a cluster of this process alone is protected by a token; not that it is without."""
    logger = logging.getLogger("ray._private.authentication.authentication_token_setup")

    def wanted(record: logging.LogRecord) -> bool:
        return "is enabled for this Ray cluster" not in record.getMessage()

    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


def _explained(address: str, error: Exception) -> str:
    if "Version mismatch" in str(error):
        versions = " ".join(str(error).split())
        return f"Ray cluster at {address}: {versions}\n{_VERSION_RECIPE}"
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if isinstance(error, ConnectionError | AuthenticationError):  # somebody answered, see knock; Ray hides the reason
        return f"Ray cannot connect to the cluster at {address}: {first}\n{TOKEN_RECIPE}"
    return f"Ray cluster at {address} cannot be used: {first}"


@dataclass(frozen=True)
class Placement:
    """What each actor reserves, and where.

    Args:
        num_hosts: Actors of hosts.
        cpus_per_host: CPUs of each.
        gpus_per_host: GPUs of each, or the fraction of one.
        gpus_for_driver: GPUs of the driver, or the fraction of one.
        parties: Whose node each host is on, in order; empty leaves it to Ray.
        spread: Whether no two of them share a node.
        group: Ray's placement group, where they are spread and it is there.
    """

    num_hosts: int
    cpus_per_host: float
    gpus_per_host: float
    gpus_for_driver: float
    parties: tuple[str, ...] = ()
    spread: bool = False
    group: Any = None

    def needs(self) -> dict[str, float]:
        """CPUs and GPUs of all actors together."""
        gpus = self.num_hosts * self.gpus_per_host + self.gpus_for_driver
        return {"CPU": self.num_hosts * self.cpus_per_host, "GPU": gpus}

    def options(self, host: int | None, agent: str) -> dict[str, Any]:
        """Ray's options for the actor of a host; None is that of an agent that joins, which is in no group."""
        options: dict[str, Any] = {"num_cpus": self.cpus_per_host, "num_gpus": self.gpus_per_host}
        if self.parties:
            options["label_selector"] = {PARTY: agent}
        if self.group is not None and host is not None:
            strategy = PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=host)
            options["scheduling_strategy"] = strategy
        return options

    def spread_out(self) -> "Placement":
        """With a placement group that keeps its hosts on nodes of their own, if that is asked for; returns at once."""
        if not self.spread:
            return self
        reserve = {"CPU": max(self.cpus_per_host, _LEAST), "GPU": self.gpus_per_host}
        bundle = {name: amount for name, amount in reserve.items() if amount}
        labels = [{PARTY: party} for party in self.parties] or None
        group = placement_group([bundle] * self.num_hosts, strategy="STRICT_SPREAD", bundle_label_selector=labels)
        return replace(self, group=group)


def place(scaling: ScalingConfig, num_hosts: int, agents: Sequence[str] = ()) -> Placement:
    """What the actors reserve of the cluster; CPUs that are not set are shared evenly, and a party's node is its own.

    Args:
        scaling: The settings.
        num_hosts: Actors of hosts.
        agents: Names of the agents, one a host, where each is on its party's node.
    """
    cpus = scaling.cpus_per_host
    if cpus is None and scaling.on_party_nodes:
        cpus = _LEAST
    if cpus is None:
        share = ray.cluster_resources().get("CPU", 1.0) / (num_hosts + 1)
        cpus = min(1.0, int(share * 1000) / 1000)
    parties = tuple(agents) if scaling.on_party_nodes else ()
    return Placement(num_hosts, cpus, scaling.gpus_per_host, scaling.gpus_for_driver, parties, scaling.spread)


def num_cpus() -> int:
    """CPUs of the cluster."""
    return int(ray.cluster_resources().get("CPU", 1))


def available() -> str:
    """What nobody has reserved of the cluster, for messages."""
    there = ray.available_resources()
    return ", ".join(f"{there.get(name, 0.0):g} {name}" for name in ("CPU", "GPU"))


def disk_used() -> float:
    """Share of the disk with Ray's files that is taken, on the node of this process."""
    used = shutil.disk_usage(ray.get_runtime_context().get_temp_dir())
    return used.used / used.total


def full_disk() -> str:
    """What to do about the disk with Ray's files on this node, where no process starts once it is full; else empty."""
    if (used := disk_used()) <= FULL:
        return ""
    return (
        f"; the disk with Ray's files is {used:.0%} full here: free space, or start Ray with --temp-dir on a larger one"
    )


def wait_for_resources(placement: Placement, timeout_s: float) -> None:
    """Wait until the cluster has what the actors need; 0 seconds for a cluster that cannot grow.

    Raises: ResourceError that says what was asked for and what is there; at once if a party's label is on two nodes.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        if twice := held_twice(placement.parties, _nodes()):
            raise ResourceError(twice)
        there = ray.cluster_resources()
        lacking = {name: amount for name, amount in placement.needs().items() if amount > there.get(name, 0.0) + 1e-9}
        if not lacking and _fits_on_nodes(placement):
            return
        if time.monotonic() >= deadline:
            if absent := missing(placement.parties, _nodes()):
                raise ResourceError(f"{absent} (waited start_timeout_s={timeout_s:g})" if timeout_s else absent)
            asked = ", ".join(f"{amount:g} {name}" for name, amount in placement.needs().items() if amount)
            has = ", ".join(f"{there.get(name, 0.0):g} {name}" for name in ("CPU", "GPU"))
            raise ResourceError(
                f"{placement.num_hosts} actors of {placement.cpus_per_host:g} CPU and {placement.gpus_per_host:g} GPU "
                f"(driver: {placement.gpus_for_driver:g} GPU) ask for {asked}; the cluster has {has} on "
                f"{len(_nodes())} node(s){_where(placement)}. Lower ScalingConfig.gpus_per_host or cpus_per_host (a "
                f"fraction shares one), raise agents_per_host, or add nodes"
            )
        time.sleep(0.5)


def _fits_on_nodes(placement: Placement) -> bool:
    """Whether every actor finds a node that holds it; a fraction of a GPU comes out of one GPU."""
    nodes = _nodes()
    free = [(node["Resources"].get("CPU", 0.0), [1.0] * int(node["Resources"].get("GPU", 0))) for node in nodes]
    labels = [node.get("Labels", {}).get(PARTY) for node in nodes]
    host = (placement.cpus_per_host, placement.gpus_per_host)
    wants = [(*host, party) for party in placement.parties or (None,) * placement.num_hosts]
    used: set[int] = set()  # by hosts that share a node with no other
    for cpus, gpus, party in sorted(wants, key=lambda want: want[1], reverse=True):
        allowed = [at for at, label in enumerate(labels) if party in (None, label) and at not in used]
        at = _first_fit(free, allowed, cpus, gpus)
        if at is None:
            return False
        used |= {at} if placement.spread else set()
    return _first_fit(free, range(len(free)), 0.0, placement.gpus_for_driver) is not None


def _first_fit(free: list[tuple[float, list[float]]], allowed: Iterable[int], cpus: float, gpus: float) -> int | None:
    """Take what an actor needs from the first of these nodes that has it; None if none has."""
    for at in allowed:
        cpus_left, gpus_left = free[at]
        taken = _take_gpus(gpus_left, gpus)
        if cpus_left + 1e-9 >= cpus and taken is not None:
            free[at] = (cpus_left - cpus, taken)
            return at
    return None


def _where(placement: Placement) -> str:
    """What is asked of the nodes beside their size, for messages."""
    asked = [("each on its party's node", bool(placement.parties)), ("no two on one node", placement.spread)]
    words = " and ".join(words for words, holds in asked if holds)
    return f", and {words} is asked for" if words else ""


def _take_gpus(left: list[float], gpus: float) -> list[float] | None:
    """What is left of each GPU of a node after an actor took its share; None if it does not fit."""
    left = sorted(left)
    for index, share in enumerate(left):
        if share + 1e-9 >= gpus:
            return [*left[:index], share - gpus, *left[index + 1 :]]
    return left if not gpus else None


def _nodes() -> list[dict]:
    return [node for node in ray.nodes() if node["Alive"]]
