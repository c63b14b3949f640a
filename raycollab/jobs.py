"""Runs as jobs of a cluster that this machine is no part of, through the dashboard of its head (Ray's job API)."""

import asyncio
import logging
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
import requests
import yaml
from ray._private.runtime_env.packaging import get_excludes_from_ignore_files
from ray.exceptions import AuthenticationError
from ray.job_submission import JobInfo, JobStatus, JobSubmissionClient

from raycollab.errors import ClusterError, ConfigError
from raycollab.runtime.reaching import TOKEN_RECIPE, knock

STOPPED = 3  # exit code of a run that was asked to stop
_STOP_S = 60  # that a run has to end after SIGTERM, before it is killed
_ENDING_S = 30.0  # that Ray may take on top to say so
_MOST_SENT = 256 << 20  # bytes of a working folder; Ray stores it packed in its head's memory, up to 512 MiB
_NEVER_SENT = (".git", ".venv", "venv", "__pycache__")  # by Ray itself
_NO_DASHBOARD = (
    "look whether the head runs (`ray status` there) and was started with the dashboard (ray[default] installed, no "
    "--include-dashboard=false), and from elsewhere whether `ssh -L 8265:localhost:8265 HEAD` still does"
)
_MARK = "raycollab"  # of our jobs, in their metadata: the command that they run


@dataclass(frozen=True)
class Jobs:
    """The jobs of a cluster.

    Args:
        address: Of the head's dashboard, http://HOST:8265.
        client: Ray's own client of it.
    """

    address: str
    client: Any

    @classmethod
    def at(cls, address: str | None) -> "Jobs":
        """Reach a cluster; None takes $RAY_API_SERVER_ADDRESS, or $RAY_ADDRESS.

        Raises: ConfigError for another kind of address; ClusterError if nobody answers, the token is wrong or missing,
            or the cluster is of another version of Ray.
        """
        address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or ""
        if not is_dashboard(address):
            raise ConfigError(
                f"address={address!r}: jobs go to the dashboard of the cluster's head, http://HOST:8265; elsewhere "
                f"that is http://localhost:8265 after `ssh -L 8265:localhost:8265 HEAD`. On a node of the cluster "
                f"`raycollab run --address HOST:6379` needs none"
            )
        parts = urlsplit(address)
        knock(f"{parts.hostname}:{parts.port or {'http': 80, 'https': 443}[parts.scheme]}", _NO_DASHBOARD)
        with explained(address):
            client = JobSubmissionClient(address)
            theirs = client._server_ray_version  # what it has just been told; get_version() is that of the job API
        if _minor(theirs) != _minor(ray.__version__):
            raise ClusterError(
                f"Ray cluster at {address}: it runs Ray {theirs}, and this machine {ray.__version__}; install "
                f'the same here: pip install "ray[default,tune]=={theirs}"'
            )
        return cls(address, client)

    def submit(self, arguments: Sequence[str], *, working_dir: str = "", runtime_env: Mapping[str, Any]) -> str:
        """Have the cluster run `raycollab ARGUMENTS`; returns the job's id.

        Each argument arrives as it is: it is quoted for the shell that starts the job.

        Args:
            arguments: A command and what it takes.
            working_dir: Folder that is sent, without what its .rayignore and .gitignore name; empty sends nothing.
            runtime_env: What else the job's processes need, as Ray has it: env_vars, pip, excludes ...
        Raises: ConfigError if the folder is too large or the environment is not accepted; ClusterError.
        """
        if working_dir and "excludes" not in runtime_env:  # else the cluster says whether it is too large
            check_size(Path(working_dir).resolve())
        asked = {**runtime_env, **({"working_dir": working_dir} if working_dir else {})}
        asked["env_vars"] = {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_S), **(asked.get("env_vars") or {})}
        command = shlex.join(["python", "-m", "raycollab", *arguments])
        with explained(self.address):
            try:
                job: str = self.client.submit_job(entrypoint=command, runtime_env=asked, metadata={_MARK: command})
            except (TypeError, ValueError) as error:
                first = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise ConfigError(f"runtime-env: {first}; it takes what Ray's runtime_env takes") from error
        return job

    def follow(self, job: str, write: Callable[[str], object]) -> int:
        """Write what a job says until it ends; returns its exit code.

        Raises: ClusterError if the connection is lost; the job goes on then.
        """

        async def whole() -> None:
            async for lines in self.client.tail_job_logs(job):
                write(lines)

        with explained(self.address):
            asyncio.run(whole())
        return self.ended(job, write)

    def ended(self, job: str, write: Callable[[str], object], within_s: float = _ENDING_S) -> int:
        """Wait until a job has ended; returns its exit code, and writes why if that is not from the job itself.

        Raises: ClusterError if it does not end in time.
        """
        deadline = time.monotonic() + within_s
        while not (info := self.info(job)).status.is_terminal():
            if time.monotonic() > deadline:
                raise ClusterError(f"job {job} has not ended {within_s:.0f} s later; look at {self.address}")
            time.sleep(0.2)
        if info.status == JobStatus.SUCCEEDED:
            return 0
        if info.status == JobStatus.STOPPED:
            return STOPPED
        if info.driver_exit_code is None:
            write(f"{info.message}\n")
        return info.driver_exit_code or 1

    def stop(self, job: str, write: Callable[[str], object]) -> int:
        """End a job as SIGTERM does: after the round under way, with what was committed kept; returns its exit code."""
        if self.info(job).status.is_terminal():
            raise ClusterError(f"job {job} has ended already: {self.info(job).status}")
        with explained(self.address):
            self.client.stop_job(job)
        return self.ended(job, write, _STOP_S + _ENDING_S)

    def info(self, job: str) -> JobInfo:
        """What Ray knows of a job.

        Raises: ClusterError if there is none of this name, with those that there are.
        """
        with explained(self.address):
            try:
                return self.client.get_job_info(job)
            except RuntimeError as error:
                known = ", ".join(self.listed()) or "none"
                raise ClusterError(f"there is no job {job!r} at {self.address}; there are: {known}") from error

    def logs(self, job: str) -> str:
        """What a job has said so far."""
        self.info(job)
        with explained(self.address):
            said: str = self.client.get_job_logs(job)
        return said

    def listed(self) -> dict[str, str]:
        """Status of each of our jobs, the newest last."""
        with explained(self.address):
            ours = [info for info in self.client.list_jobs() if _MARK in (info.metadata or {})]
        ours.sort(key=lambda info: info.start_time or 0)
        return {info.submission_id: f"{info.status}  {info.metadata[_MARK]}" for info in ours}


def is_dashboard(address: str | None) -> bool:
    """Whether jobs can be sent there."""
    return bool(address) and urlsplit(str(address)).scheme in ("http", "https")


def sent(experiment: str, working_dir: str) -> str:
    """How an experiment file is called on the cluster: relative to what is sent, if it is a part of that.

    Raises: ConfigError if it is a file of this machine alone.
    """
    file = Path(experiment)
    if "://" in experiment or not file.exists():
        return experiment
    folder = Path(working_dir).resolve()
    if not file.resolve().is_relative_to(folder):
        raise ConfigError(
            f"{experiment}: it is not in the folder that is sent, {folder}, and the cluster would not find it; move it "
            f"there, or name another folder with --working-dir"
        )
    return str(file.resolve().relative_to(folder))


def read_environment(path: str | None) -> dict[str, Any]:
    """A runtime environment for Ray from a YAML file.

    Raises: ConfigError if there is none.
    """
    try:
        found = yaml.safe_load(Path(path).read_text()) if path else {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"runtime-env={path!r}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"runtime-env={path!r}: must hold keys such as env_vars: and pip:, as Ray has them")
    return found


@contextmanager
def explained(address: str) -> Iterator[None]:
    """What Ray's client raises, as a ClusterError with the remedy."""
    try:
        yield
    except (AuthenticationError, PermissionError) as error:
        first = next(iter(str(error).strip().splitlines()), "the token is wrong or missing")
        raise ClusterError(f"Ray cluster at {address}: {first}\n{TOKEN_RECIPE}") from error
    except (RuntimeError, ConnectionError, OSError, requests.RequestException) as error:
        raise ClusterError(
            f"Ray cluster at {address}: {_gist(error)[:500]}; look at `ray status` on its head, whose disk may be full"
            f", and whether it was started with the dashboard (ray[default] installed, no --include-dashboard=false)"
        ) from error


def _gist(error: Exception) -> str:
    """The first line of a message, and the last one of a traceback that it brings along: that has the cause."""
    lines = [line for line in str(error).splitlines() if line.strip(" .")]
    if not lines:
        return type(error).__name__
    first, traceback, _ = lines[0].partition("Traceback (most recent call last):")
    return f"{first}{lines[-1]}" if traceback else first


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def check_size(folder: Path) -> None:
    """Refuse a folder that is too large to be sent, before anything of it is read.

    Raises: ConfigError with its largest parts.
    """
    sizes = {part.name: _size(part, _ignored(folder)) for part in folder.iterdir()}
    if (total := sum(sizes.values())) > _MOST_SENT:
        names = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
        largest = ", ".join(f"{name} {sizes[name] / 1e6:,.0f} MB" for name in names)
        raise ConfigError(
            f"working-dir={str(folder)!r}: {total / 1e6:,.0f} MB would be sent, of which {largest}; the most is "
            f"{_MOST_SENT / 1e6:,.0f} MB. Code is sent, data is not: name what is to stay here in a .rayignore there, "
            f"as in a .gitignore, and put data where the agents run"
        )


def _size(path: Path, ignored: list[Callable[[Path], bool]]) -> int:
    """Bytes of what Ray would send of a path."""
    if path.name in _NEVER_SENT or any(ignores(path) for ignores in ignored):
        return 0
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    inside = [*ignored, *_ignored(path)]
    return 0 if path.is_symlink() else sum(_size(part, inside) for part in path.iterdir())


def _ignored(folder: Path) -> list[Callable[[Path], bool]]:
    return list(get_excludes_from_ignore_files(folder, include_gitignore=True, logger=logging.getLogger(__name__)))
