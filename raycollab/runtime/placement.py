"""Which Ray cluster a run uses, and whether it has what the run asks for."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray
from ray.exceptions import AuthenticationError

from raycollab.config import ScalingConfig
from raycollab.errors import ClusterError, ResourceError

_KNOCK_TIMEOUT_S = 5.0
_TOKEN_RECIPE = """If it asks for a token, then on this machine:
    export RAY_AUTH_MODE=token
    export RAY_AUTH_TOKEN_PATH=~/.ray/auth_token     (a copy of the head's ~/.ray/auth_token, mode 600)
and run the command again"""


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
    _knock(address)
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


def _knock(address: str) -> None:
    """Refuse an address where nobody listens at once: Ray would go on trying for minutes.

    Raises: ClusterError if there is no connection to HOST:PORT; other forms of address are left to Ray.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if "://" in host or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"Ray cluster at {address}: nobody answers there: {error}; check the address (RAY_ADDRESS or --address) "
            f"with `ray status --address {address}` on its head, or leave it out to run on this machine"
        ) from error


def _explained(address: str, error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if isinstance(error, ConnectionError | AuthenticationError):  # somebody answered, see _knock; Ray hides the reason
        return f"Ray cannot connect to the cluster at {address}: {first}\n{_TOKEN_RECIPE}"
    return f"Ray cluster at {address} cannot be used: {first}"


@dataclass(frozen=True)
class Placement:
    """What each actor reserves."""

    num_hosts: int
    cpus_per_host: float
    gpus_per_host: float
    gpus_for_driver: float

    def needs(self) -> dict[str, float]:
        """CPUs and GPUs of all actors together."""
        gpus = self.num_hosts * self.gpus_per_host + self.gpus_for_driver
        return {"CPU": self.num_hosts * self.cpus_per_host, "GPU": gpus}


def place(scaling: ScalingConfig, num_hosts: int) -> Placement:
    """What the actors reserve of the cluster; CPUs that are not set are shared evenly."""
    cpus = scaling.cpus_per_host
    if cpus is None:
        share = ray.cluster_resources().get("CPU", 1.0) / (num_hosts + 1)
        cpus = min(1.0, int(share * 1000) / 1000)
    return Placement(num_hosts, cpus, scaling.gpus_per_host, scaling.gpus_for_driver)


def num_cpus() -> int:
    """CPUs of the cluster."""
    return int(ray.cluster_resources().get("CPU", 1))


def available() -> str:
    """What nobody has reserved of the cluster, for messages."""
    there = ray.available_resources()
    return ", ".join(f"{there.get(name, 0.0):g} {name}" for name in ("CPU", "GPU"))


def wait_for_resources(placement: Placement, timeout_s: float) -> None:
    """Wait until the cluster has what the actors need; 0 seconds for a cluster that cannot grow.

    Raises: ResourceError that says what was asked for and what is there.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        there = ray.cluster_resources()
        lacking = {name: amount for name, amount in placement.needs().items() if amount > there.get(name, 0.0) + 1e-9}
        if not lacking and _fits_on_nodes(placement):
            return
        if time.monotonic() >= deadline:
            asked = ", ".join(f"{amount:g} {name}" for name, amount in placement.needs().items() if amount)
            has = ", ".join(f"{there.get(name, 0.0):g} {name}" for name in ("CPU", "GPU"))
            raise ResourceError(
                f"{placement.num_hosts} actors of {placement.cpus_per_host:g} CPU and {placement.gpus_per_host:g} GPU "
                f"(driver: {placement.gpus_for_driver:g} GPU) ask for {asked}; the cluster has {has} on "
                f"{len(_nodes())} node(s). Lower ScalingConfig.gpus_per_host or cpus_per_host (a fraction shares one), "
                f"raise agents_per_host, or add nodes"
            )
        time.sleep(0.5)


def _fits_on_nodes(placement: Placement) -> bool:
    """Whether every actor finds a node that holds it; a fraction of a GPU comes out of one GPU."""
    free = [(node["Resources"].get("CPU", 0.0), [1.0] * int(node["Resources"].get("GPU", 0))) for node in _nodes()]
    wants = [(placement.cpus_per_host, placement.gpus_per_host)] * placement.num_hosts + [
        (0.0, placement.gpus_for_driver)
    ]
    for cpus, gpus in sorted(wants, key=lambda want: want[1], reverse=True):
        for index, (cpus_left, gpus_left) in enumerate(free):
            taken = _take_gpus(gpus_left, gpus)
            if cpus_left + 1e-9 >= cpus and taken is not None:
                free[index] = (cpus_left - cpus, taken)
                break
        else:
            return False
    return True


def _take_gpus(left: list[float], gpus: float) -> list[float] | None:
    """What is left of each GPU of a node after an actor took its share; None if it does not fit."""
    left = sorted(left)
    for index, share in enumerate(left):
        if share + 1e-9 >= gpus:
            return [*left[:index], share - gpus, *left[index + 1 :]]
    return left if not gpus else None


def _nodes() -> list[dict]:
    return [node for node in ray.nodes() if node["Alive"]]
