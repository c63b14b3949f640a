"""A cluster as an administrator starts it (a head with a dashboard, protected by a token), and refused commands."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from raycollab.cli import main

_START_TIMEOUT_S = 120


@dataclass(frozen=True)
class Head:
    """A running head: its address, its dashboard, its token and the folder of its sessions."""

    address: str
    dashboard: str
    token: str
    folder: Path


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """`ray start --head` with ports and a folder of its own; in the end exactly its own processes are killed."""
    folder = Path(tempfile.mkdtemp(prefix="rh-", dir="/tmp"))  # short: the paths of Ray's sockets are below it
    (folder / "ray").mkdir()
    port, dashboard, client, agent = free_ports(4)
    token = "0123456789abcdef" * 4
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {"HOME": str(folder), "RAY_TMPDIR": str(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    own["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # of the jobs' `python`
    process = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--disable-usage-stats",
            f"--port={port}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1",
            f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}",
            "--num-cpus=6", "--object-store-memory=100000000",
        ],
        env={**clean, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for_port(process, dashboard)
        yield Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", token, folder)
    finally:
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in tree:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended with its parent
                member.kill()
        process.communicate(timeout=60)
        psutil.wait_procs(tree, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes an empty folder the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail; returns its message, which is the last thing on stderr."""

    def call(*arguments: object, code: int = 2) -> str:
        assert main([*map(str, arguments)]) == code
        message = capsys.readouterr().err
        assert message.startswith("raycollab: ")
        assert "Traceback" not in message
        assert not Path("runs").exists() or not list(Path("runs").iterdir()), "a folder is in the way"
        return " ".join(message.split())

    return call


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, outside the range that Ray gives its workers (10002 to 19999)."""
    found: list[int] = []
    for port in range(20000 + os.getpid() % 10000, 32000):
        with socket.socket() as probe:
            if len(found) < count and probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


def wait_for_port(process: subprocess.Popen, port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"ray start ended: {process.stdout.read().decode()}")
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    pytest.fail(f"ray start: nobody listens on port {port} after {_START_TIMEOUT_S} s")
