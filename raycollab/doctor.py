"""What is wrong with a Ray cluster, node by node, and what to do about it."""

import os
import platform
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raycollab.errors import RunFolderError
from raycollab.experiment import Experiment
from raycollab.runtime.parties import PARTY, held_twice, homes, missing
from raycollab.runtime.placement import FULL, cluster, disk_used
from raycollab.runtime.ray_hosts import answer_of
from raycollab.storage import Storage
from raycollab.types import Failure

_ANSWER_S = 60.0  # that a node may take, the start of a process included
_SKEW_S = 2.0  # between two clocks
_VECTORS = 4  # of a model that are in an object store at a time: this round's, the next one's, and two on their way
_PACKAGES = ("ray", "torch", "numpy", "raycollab")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    well: bool = True
    remedy: str = ""


@dataclass(frozen=True)
class Node:
    """What a node says of itself.

    Args:
        address: Its IP address.
        versions: Of Python and of packages.
        gpus: GPUs that Ray hands out there.
        gpus_seen: GPUs that torch sees there.
        store: Bytes of its object store.
        shm: Bytes of its /dev/shm, where the object store should be.
        disk_used: Share of the disk of Ray's files that is taken.
        skew_s: Seconds that its clock is ahead, or behind if negative, beyond what asking took.
        auth: RAY_AUTH_MODE of its processes.
        token_mode: Permissions of its token's file; 0 if there is none.
        storage: Why the storage cannot be used from there; empty if it can, or none was to be looked at.
    """

    address: str
    versions: dict[str, str] = field(default_factory=dict)
    gpus: float = 0.0
    gpus_seen: int = 0
    store: float = 1e9
    shm: float = 1e9
    disk_used: float = 0.0
    skew_s: float = 0.0
    auth: str = "token"
    token_mode: int = 0
    storage: str = ""


def examined(address: str | None, experiment: Experiment | None = None, storage: str | None = None) -> list[Finding]:
    """Ask every node of a cluster, and judge.

    Args:
        address: Of the cluster; None as in `raycollab run`.
        experiment: Whose parties, GPUs, model and run.dir are to fit; None looks at the cluster alone.
        storage: Place that all nodes must see; None takes that of the experiment.
    Raises: ClusterError if the cluster cannot be reached, or is of another version of Ray or Python.
    """
    place = storage or (experiment.run.dir if experiment else "")
    place = Storage(place).uri if place else ""  # a relative one means the same everywhere
    with cluster(address):
        alive = [node for node in ray.nodes() if node["Alive"]]
        nodes, silent = _asked(alive, place)
        looked = [*judged(nodes, own_versions()), *sizes(nodes, experiment)] if nodes else []
        if silent and not (disk := _disks([_here()])).well:  # no process starts there, and so none could say it
            silent.append(disk)
        return [*silent, *looked, *parties(alive, experiment)]


def judged(nodes: Sequence[Node], expected: dict[str, str]) -> list[Finding]:
    """What is wrong with nodes, compared with the versions of this process."""
    checks: list[Callable[[Sequence[Node]], Finding]] = [_clocks, _token_asked, _token_files, _gpus, _disks, _storage]
    return [_same(nodes, name, wanted) for name, wanted in expected.items()] + [check(nodes) for check in checks]


def parties(nodes: Sequence[dict[str, Any]], experiment: Experiment | None) -> list[Finding]:
    """Whether every party of an experiment has a node, and no label is held twice."""
    found = homes(nodes)
    pinned = experiment is not None and experiment.scaling.on_party_nodes
    names = [agent.name for agent in experiment.members()] if experiment is not None and pinned else list(found)
    there = ", ".join(f"{party} on {', '.join(where)}" for party, where in sorted(found.items())) or "none"
    said, _, remedy = (held_twice(names, nodes) or missing(names, nodes)).partition(". ")
    return [Finding(f"labels {PARTY}", said or there, not said, remedy)]


def sizes(nodes: Sequence[Node], experiment: Experiment | None) -> list[Finding]:
    """Whether object stores hold the vectors of an experiment's model, and are in memory."""
    numbers = experiment.task.model().parameters() if experiment else ()
    needed = _VECTORS * 4 * sum(each.numel() for each in numbers)
    small = [f"{node.address} {_mb(node.store)}" for node in nodes if node.store < needed]
    slow = [f"{node.address} {_mb(node.shm)}" for node in nodes if node.shm < node.store]
    if small:
        remedy = f"start Ray there with --object-store-memory={needed:.0f} or more, or exchange less"
        said = f"{', '.join(small)}; {_VECTORS} vectors of the model take {_mb(needed)}"
        return [Finding("object store", said, False, remedy)]
    if slow:
        remedy = "give it more shared memory (docker --shm-size, an emptyDir of medium Memory), or a smaller store"
        return [Finding("object store", f"/dev/shm is smaller than it on {', '.join(slow)}", False, remedy)]
    least = min((node.store for node in nodes), default=0.0)
    return [Finding("object store", f"{_mb(least)} or more on every node")]


def own_versions() -> dict[str, str]:
    """Versions of what must be the same on every node."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _same(nodes: Sequence[Node], package: str, wanted: str) -> Finding:
    others = [f"{node.versions.get(package)} on {node.address}" for node in nodes if node.versions[package] != wanted]
    if not others:
        return Finding(package, f"{wanted} on every node")
    return Finding(
        package, f"{wanted} here, {', '.join(others)}", False, f"install {package} {wanted} there, or theirs here"
    )


def _clocks(nodes: Sequence[Node]) -> Finding:
    wrong = [f"{node.address} {node.skew_s:+.1f} s" for node in nodes if abs(node.skew_s) > _SKEW_S]
    remedy = "let chrony or systemd-timesyncd set the clocks; what is written in turn is put in order by them"
    return Finding("clocks", ", ".join(wrong), False, remedy) if wrong else Finding("clocks", f"within {_SKEW_S:g} s")


def _token_asked(nodes: Sequence[Node]) -> Finding:
    open_ones = [node.address for node in nodes if node.auth != "token"]
    if not open_ones:
        return Finding("token", "asked for by every node")
    remedy = "start Ray with RAY_AUTH_MODE=token and a common ~/.ray/auth_token on every node: cluster/README.md"
    who = f"not asked for on {', '.join(open_ones)}: whoever reaches Ray's ports can run code there"
    return Finding("token", who, False, remedy)


def _token_files(nodes: Sequence[Node]) -> Finding:
    loose = [f"{node.address} ({node.token_mode:o})" for node in nodes if node.token_mode & 0o077]
    if not loose:
        return Finding("token's file", "read by its owner alone")
    return Finding(
        "token's file", f"others can read it on {', '.join(loose)}", False, "chmod 600 ~/.ray/auth_token there"
    )


def _gpus(nodes: Sequence[Node]) -> Finding:
    wrong = [
        f"{node.address} has {node.gpus:g}, torch sees {node.gpus_seen}" for node in nodes if node.gpus_seen < node.gpus
    ]
    if wrong:
        remedy = (
            "install a CUDA build of torch that fits the driver there (look at nvidia-smi), or start Ray with fewer"
        )
        return Finding("GPUs", ", ".join(wrong), False, remedy)
    return Finding("GPUs", f"{sum(node.gpus for node in nodes):g}, all seen by torch")


def _disks(nodes: Sequence[Node]) -> Finding:
    full = [f"{node.address} {node.disk_used:.0%}" for node in nodes if node.disk_used > FULL]
    if full:
        remedy = "free space there, or start Ray with --temp-dir on a larger disk: beyond 95 % it stores nothing"
        return Finding("disk of Ray's files", f"full on {', '.join(full)}", False, remedy)
    return Finding("disk of Ray's files", "has room on every node")


def _storage(nodes: Sequence[Node]) -> Finding:
    wrong = [f"{node.address}: {node.storage}" for node in nodes if node.storage]
    remedy = "give a place that all nodes see, such as NFS or s3://, as --run.dir, and mount it there"
    return (
        Finding("storage", "; ".join(wrong), False, remedy)
        if wrong
        else Finding("storage", "no node finds fault with it")
    )


def _asked(alive: Sequence[dict[str, Any]], place: str) -> tuple[list[Node], list[Finding]]:
    """What each node says; who says nothing in time is a finding."""
    word, refusal = secrets.token_hex(8), ""
    name = f".raycollab-doctor-{word}"
    try:
        if place:
            Storage(place).write_bytes(name, word.encode())
    except RunFolderError as error:
        refusal = f"this machine cannot write there: {error}"
    try:
        looks = [_on(node, _look).remote("" if refusal else place, name, word) for node in alive]
        done, _ = ray.wait(looks, num_returns=len(looks), timeout=_ANSWER_S)
        nodes: list[Node] = []
        silent: list[Finding] = []
        for node, look in zip(alive, looks, strict=True):
            address, resources = node["NodeManagerAddress"], node["Resources"]
            said = answer_of(look, 0.1 if look in done else 0)
            before = time.time()
            theirs = said if isinstance(said, Failure) else answer_of(_on(node, time.time).remote(), _ANSWER_S)
            if isinstance(theirs, Failure):
                remedy = (
                    "look whether its disk is full (`df`), at `ray status` and at its raylet.log; install the same "
                    "raycollab there"
                )
                why = f"none from {address}: {theirs.error}: {theirs.message}"
                silent.append(Finding("answer", why, False, remedy))
                continue
            ahead, behind = max(0.0, theirs - time.time()), min(0.0, theirs - before)
            gpus, store = resources.get("GPU", 0.0), resources.get("object_store_memory", 0.0)
            said["storage"] = refusal or said["storage"]
            nodes.append(Node(address, gpus=gpus, store=store, skew_s=ahead + behind, **said))
        return nodes, silent
    finally:
        if place and not refusal:
            Storage(place).delete(name)


def _on(node: dict[str, Any], call: Callable[..., Any]) -> Any:
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(lambda *given: call(*given))
    return task.options(name="raycollab doctor")


def _look(place: str, name: str, word: str) -> dict[str, Any]:
    """What only a process of the node can see."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    return {
        "versions": own_versions(),
        "gpus_seen": torch.cuda.device_count(),
        "shm": float(shutil.disk_usage("/dev/shm").total) if os.path.isdir("/dev/shm") else 0.0,
        "disk_used": disk_used(),
        "auth": os.environ.get("RAY_AUTH_MODE", ""),
        "token_mode": stat.S_IMODE(token.stat().st_mode) if token.exists() else 0,
        "storage": _tried(place, name, word) if place else "",
    }


def _here() -> Node:
    """The node of this process, as far as it can be seen without starting another one there."""
    return Node(ray.util.get_node_ip_address(), disk_used=disk_used())


def _tried(place: str, name: str, word: str) -> str:
    """Why a node cannot share a place with whoever wrote a word there; empty if it can."""
    try:
        if Storage(place).read_bytes(name).decode() != word:
            return f"it sees other files in {place}"
        own = f"{name}-{secrets.token_hex(4)}"
        Storage(place).write_bytes(own, b"")
        Storage(place).delete(own)
    except RunFolderError as error:
        return str(error)
    return ""


def _mb(amount: float) -> str:
    return f"{amount / 1e6:,.0f} MB"
