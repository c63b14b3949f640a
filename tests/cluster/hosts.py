"""Hosts of their own on one machine: Ray processes in network namespaces, each with an address and an interface."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

RAY = Path(sys.executable).parent / "ray"
HEAD = "10.77.0.1"
PORT = 6399
STORE = 100 << 20
NOTICING = (  # the death or loss of a node within some seconds
    '{"health_check_initial_delay_ms":0,"health_check_period_ms":500,'
    '"health_check_timeout_ms":2000,"health_check_failure_threshold":4}'
)


def not_allowed() -> str:
    """Why hosts cannot be made here; empty if they can."""
    try:
        done = subprocess.run(["ip", "netns", "add", "rc-try"], capture_output=True, text=True)
        if done.returncode:
            return f"network namespaces are not allowed here: {done.stderr.strip()}"
        _ip("netns del rc-try")
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces are not allowed here: {error}"
    return ""


@dataclass(frozen=True)
class Host:
    """A worker: its party, its namespace, its end of the cable that is in the head's, and its address."""

    party: str
    number: int

    @property
    def space(self) -> str:
        return f"rc-{self.number}"

    @property
    def cable(self) -> str:
        return f"rcv{self.number}"

    @property
    def address(self) -> str:
        return f"10.77.0.{self.number + 1}"

    def received(self) -> int:
        """Bytes that it has sent through its interface, as the other end has counted them."""
        return self._counted("rx")

    def sent_to(self) -> int:
        """Bytes that it was sent."""
        return self._counted("tx")

    def _counted(self, direction: str) -> int:
        counter = f"/sys/class/net/{self.cable}/statistics/{direction}_bytes"
        return int(_ip(f"netns exec rc-0 cat {counter}"))

    def cut_off(self) -> None:
        """Pull its cable."""
        _ip(f"netns exec rc-0 ip link set {self.cable} down")

    def limit(self, rate: str) -> None:
        """Let its cable carry no more than this in either direction, such as `50mbit`."""
        shaped = f"root tbf rate {rate} burst 128kb latency 400ms"
        _ip(f"netns exec rc-0 tc qdisc add dev {self.cable} {shaped}")
        _ip(f"netns exec {self.space} tc qdisc add dev eth0 {shaped}")

    def kill(self) -> None:
        """Kill every process in it."""
        for pid in _ip(f"netns pids {self.space}").split():
            with suppress(psutil.NoSuchProcess):
                psutil.Process(int(pid)).kill()


@contextmanager
def hosts(parties: list[str], folder: Path, environment: dict[str, str]) -> Iterator[list[Host]]:
    """A head in a namespace of its own, and a host for each party, each connected with the head's bridge."""
    made = [Host(party, number) for number, party in enumerate(parties, start=1)]
    processes: list[subprocess.Popen] = []
    try:
        _network(made)
        start = f"--block --disable-usage-stats --object-store-memory={STORE}"
        head = f"--head --port={PORT} --node-ip-address={HEAD} --num-cpus=0 --include-dashboard=false {start}"
        processes.append(_started("rc-0", [*head.split(), f"--system-config={NOTICING}"], folder, environment))
        _wait_for_head(processes[0])
        for host in made:
            worker = f"--address={HEAD}:{PORT} --node-ip-address={host.address} --num-cpus=1 {start}"
            labels = f"--labels=raycollab.io/party={host.party}"
            processes.append(_started(host.space, [*worker.split(), labels], folder, environment))
            _wait_for_worker(processes[-1], folder / f"{host.space}.log")
        yield made
    finally:
        for space in ("rc-0", *(host.space for host in made)):
            _emptied(space)
        for process in processes:
            process.wait(timeout=60)
        for space in ("rc-0", *(host.space for host in made)):
            subprocess.run(["ip", "netns", "del", space], capture_output=True)


@contextmanager
def alone(space: str) -> Iterator[list[str]]:
    """A namespace with an address and nobody else; yields what a command is put behind to run there."""
    try:
        _ip(f"netns add {space}")
        _ip(f"netns exec {space} ip link add one type veth peer name other")
        _ip(f"netns exec {space} ip addr add {HEAD}/24 dev one")
        for device in ("lo", "one", "other"):
            _ip(f"netns exec {space} ip link set {device} up")
        _ip(f"netns exec {space} ip route add default dev one")
        yield ["ip", "netns", "exec", space]
    finally:
        _emptied(space)
        subprocess.run(["ip", "netns", "del", space], capture_output=True)


def run_on_head(*command: str, **options) -> subprocess.Popen:
    """Start a process in the head's namespace."""
    return subprocess.Popen(["ip", "netns", "exec", "rc-0", *command], **options)


def _network(made: list[Host]) -> None:
    _ip("netns add rc-0")
    _ip("netns exec rc-0 ip link set lo up")
    _ip("netns exec rc-0 ip link add rcbr type bridge")
    _ip(f"netns exec rc-0 ip addr add {HEAD}/24 dev rcbr")
    _ip("netns exec rc-0 ip link set rcbr up")
    for host in made:
        _ip(f"netns add {host.space}")
        _ip(f"link add {host.cable} netns rc-0 type veth peer name eth0 netns {host.space}")
        _ip(f"netns exec rc-0 ip link set {host.cable} master rcbr up")
        _ip(f"netns exec {host.space} ip addr add {host.address}/24 dev eth0")
        for device in ("lo", "eth0"):
            _ip(f"netns exec {host.space} ip link set {device} up")


def _started(space: str, arguments: list[str], folder: Path, environment: dict[str, str]) -> subprocess.Popen:
    with open(folder / f"{space}.log", "w") as log:
        command = ["ip", "netns", "exec", space, str(RAY), "start", *arguments]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _wait_for_head(head: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    knock = ["bash", "-c", f"exec 3<>/dev/tcp/{HEAD}/{PORT}"]
    while run_on_head(*knock, stderr=subprocess.DEVNULL).wait():
        if head.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the head did not start")
        time.sleep(0.2)


def _wait_for_worker(worker: subprocess.Popen, log: Path) -> None:
    """Until it is a node; two that start at once in one folder of Ray's can wait for each other."""
    deadline = time.monotonic() + 120
    while "--block" not in log.read_text():
        if worker.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"a worker did not start: {log.read_text()}")
        time.sleep(0.2)


def _emptied(space: str) -> None:
    found = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True).stdout.split()
    for pid in found:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(int(pid)).kill()


def _ip(command: str) -> str:
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, env=os.environ)
    done.check_returncode()
    return done.stdout
