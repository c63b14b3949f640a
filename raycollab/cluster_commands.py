"""What the command line does with clusters: submit a run as a job, ask for jobs and runs, look for what is wrong."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from raycollab.errors import ConfigError

OPTIONS = ("--working-dir", "--runtime-env", "--detach", "--on-interrupt", "--follow", "--storage")
_INTERRUPTED = 130
_WHERE = "http://HOST:8265, the dashboard of the cluster's head, or HOST:6379 on one of its nodes"
_SUBMIT = """Settings are overridden as with `raycollab run`: --key.sub=value. The working folder is sent, without what
its .rayignore and .gitignore name; run.dir must be a place that all nodes see. Exit codes are the run's own."""
_DOCTOR = """Settings are overridden as with `raycollab run`: with --scaling.on_party_nodes=true each party must have a
node, and --run.dir=/shared/runs is the place that is tried. Exit codes: 0 all is well, 1 there is something to do."""


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `submit`, `status`, `logs`, `stop` and `doctor`; `add` makes a command of a name, an action and its help."""
    submit = add("submit", _submit, "run an experiment as a job of a Ray cluster, and follow it", _SUBMIT)
    submit.add_argument("experiment", nargs="?", help="YAML file in the working folder, or a URI (default: digits)")
    _job_options(submit)
    status = add("status", _status, "say where a run or a job is, or list those of a cluster")
    status.add_argument("run", nargs="?", help="run folder, or id of a job; with --address alone: all of them")
    logs = add("logs", _logs, "print what a job has said")
    logs.add_argument("run", metavar="JOB", help="id of a job, as `raycollab submit` says it")
    logs.add_argument("--follow", action="store_true", help="go on until it ends, and take over its exit code")
    stop = add("stop", _stop, "end a run or a job after the round under way; it can be resumed")
    stop.add_argument("run", help="run folder, or id of a job")
    for command in (status, logs, stop):
        command.add_argument("--address", help=_WHERE)
    doctor = add("doctor", _doctor, "look for what is wrong with a Ray cluster, node by node, and what to do", _DOCTOR)
    doctor.add_argument("experiment", nargs="?", help="YAML file: are its parties' nodes there, and its run.dir?")
    doctor.add_argument("--address", help="HOST:6379 (default: $RAY_ADDRESS, or a new one on this machine)")
    doctor.add_argument("--storage", help="path or URI that all nodes must see (default: that of the experiment)")


def resume_options(command: argparse.ArgumentParser) -> None:
    """What `resume` takes to do it as a job."""
    _job_options(command, address=False)


def _job_options(command: argparse.ArgumentParser, address: bool = True) -> None:
    if address:
        command.add_argument(
            "--address", help="http://HOST:8265, the dashboard of the cluster's head (or $RAY_ADDRESS)"
        )
    command.add_argument("--working-dir", default="" if not address else ".", help="folder to send with a job")
    command.add_argument(
        "--runtime-env", help="YAML file with what a job's processes need: env_vars, pip ... as Ray has"
    )
    command.add_argument("--detach", action="store_true", help="as a job: do not follow it")
    choices = ("leave", "stop")
    command.add_argument(
        "--on-interrupt", choices=choices, help="what Ctrl-C does with a job (default: asks, or leave)"
    )


def submitted(arguments: Sequence[str], command: argparse.Namespace) -> int:
    """Have a cluster run `raycollab ARGUMENTS`, and follow it; returns the exit code."""
    jobs = import_module("raycollab.jobs")
    environment = jobs.read_environment(command.runtime_env)
    cluster = jobs.Jobs.at(command.address)
    job = cluster.submit(arguments, working_dir=command.working_dir, runtime_env=environment)
    at = f"{job} --address {cluster.address}"
    _say(f"job {job} is submitted; `raycollab status|logs|stop {at}`\n")
    if command.detach:
        return 0
    try:
        return int(cluster.follow(job, _say))
    except KeyboardInterrupt:
        if (command.on_interrupt or _asked(job)) == "stop":
            _say(
                f"job {job} is told to stop; its run goes on with `raycollab resume RUN --address {cluster.address}`\n"
            )
            return int(cluster.stop(job, _say))
        _say(f"job {job} goes on; `raycollab logs --follow {at}`\n")
        return _INTERRUPTED


def _asked(job: str) -> str:
    """What becomes of a job; asked only where somebody can answer."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "leave"
    _say(f"\nstop job {job} as well, after its round? [y/N] ")
    return "stop" if sys.stdin.readline().strip().lower() in ("y", "yes") else "leave"


def _submit(command: argparse.Namespace, overrides: list[str]) -> int:
    jobs = import_module("raycollab.jobs")
    named = command.experiment
    if named is None or Path(named).exists():
        experiment = import_module("raycollab.experiment_file").read_experiment(named, overrides).resolved()
        place = experiment.run.dir
        if "://" not in place and not Path(place).is_absolute():
            raise ConfigError(
                f"RunConfig.dir={place!r}: a job needs a place that all nodes of the cluster see, an absolute path or "
                f"a URI, such as --run.dir=/shared/runs"
            )
    file = [] if named is None else [jobs.sent(named, command.working_dir)]
    return submitted(["run", *file, *overrides], command)


def _status(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    if command.run is None and command.address is None:
        raise ConfigError("status: give a run folder, or --address for all that a cluster runs")
    if _is_dashboard(command.address):
        cluster = _jobs(command)
        listed = cluster.listed() if command.run is None else {command.run: cluster.info(command.run).status}
        _say("".join(f"{job}  {state}\n" for job, state in listed.items()) or "no jobs\n")
        if command.run is not None:
            _say("".join(f"  {line}\n" for line in cluster.logs(command.run).splitlines()[-3:]))
    elif command.run is None:
        runs = import_module("raycollab.control").running(command.address)
        _say("\n".join(f"{run}\n{_shown(found)}" for run, found in runs.items()) or "no runs\n")
    elif command.address:
        _say(_shown(import_module("raycollab.control").ask(command.run, command.address, "status")))
    else:
        _say(_shown(control_of(command.run).status(command.run)))
    return 0


def _shown(found: dict[str, Any]) -> str:
    shown = {**found, **{name: f"{value:.4f}" for name, value in found.get("metrics", {}).items()}}
    return "".join(f"{name:>16}  {value}\n" for name, value in shown.items() if name != "metrics")


def control_of(run: str) -> Any:
    """The module that talks to a run, imported once Ray can find out how to."""
    import_module("raycollab.announcement").authenticate(run)
    return import_module("raycollab.control")


def _logs(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    cluster = _jobs(command)
    if not command.follow:
        _say(cluster.logs(command.run))
        return 0
    cluster.info(command.run)
    return int(cluster.follow(command.run, _say))


def _stop(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    if _is_dashboard(command.address):
        _jobs(command).stop(command.run, _say)
        _say(f"job {command.run} has ended; `raycollab resume RUN --address {command.address}` continues its run\n")
        return 0
    if command.address:
        import_module("raycollab.control").ask(command.run, command.address, "stop", 3600.0)
    else:
        control_of(command.run).stop(command.run, grace_s=3600.0)
    _say(f"it ends after the round under way; `raycollab resume {command.run}` continues it\n")
    return 0


def _doctor(command: argparse.Namespace, overrides: list[str]) -> int:
    experiment = None
    if command.experiment is not None or overrides:
        experiment = import_module("raycollab.experiment_file").read_experiment(command.experiment, overrides)
    findings = import_module("raycollab.doctor").examined(command.address, experiment, command.storage)
    for each in findings:
        mark = "ok" if each.well else "!!"
        _say(f"{mark}  {each.what}: {each.found}\n" + ("" if each.well else f"    to do: {each.remedy}\n"))
    bad = sum(not each.well for each in findings)
    _say(f"{bad} of {len(findings)} checks found something to do\n" if bad else "all is well\n")
    return 1 if bad else 0


def _jobs(command: argparse.Namespace) -> Any:
    return import_module("raycollab.jobs").Jobs.at(command.address)


def _is_dashboard(address: str | None) -> bool:
    return (address or "").startswith(("http://", "https://"))


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
