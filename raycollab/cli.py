"""The command line. Help is static and comes at once; torch and ray are imported only by what needs them."""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from raycollab.audit_commands import OPTIONS as AUDIT_OPTIONS
from raycollab.audit_commands import add_commands as audit_commands
from raycollab.cluster_commands import OPTIONS as CLUSTER_OPTIONS
from raycollab.cluster_commands import add_commands as cluster_commands
from raycollab.cluster_commands import control_of, resume_options, submitted
from raycollab.errors import ConfigError, Interrupted, RaycollabError
from raycollab.model_commands import OPTIONS as MODEL_OPTIONS
from raycollab.model_commands import add_commands as model_commands

_OPTIONS = (
    *("--help", "--version", "--print-config", "--address", "--out", "--all", "--resume", "--compare"),
    *AUDIT_OPTIONS,
    *CLUSTER_OPTIONS,
    *MODEL_OPTIONS,
)
_OVERRIDES = """Any setting of the experiment can be overridden as --key.sub=value, for example:

  raycollab run --run.num_rounds=5 --run.seed=1
  raycollab run my.yaml --run.name=trial --agents.partition.alpha=0.1 --scaling.gpus_per_host=0.5
  raycollab run my.yaml --chain.0.max_norm=5 --agents.learners.0.lr=0.2   (elements of lists count from 0)

`raycollab run --print-config` shows them all. Exit codes: 0 done, 1 the run failed, 2 a setting is not accepted,
3 stopped by SIGTERM, Ctrl-C or `raycollab stop` with everything committed kept, 130 interrupted for good."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    command, overrides = _parse(sys.argv[1:] if arguments is None else list(arguments))
    try:
        return command.action(command, overrides) or 0
    except RaycollabError as error:
        _complain(f"{type(error).__name__}: {error}", error)
        return 3 if isinstance(error, Interrupted) else 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt as error:
        _complain("interrupted", error)
        return 130


def _complain(text: str, error: BaseException) -> None:
    notes = "".join(f"\nraycollab: {note}" for note in getattr(error, "__notes__", ()))
    sys.stderr.write(f"raycollab: {text}{notes}\n")


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="raycollab",
        description="Collaborative training of one foundation model by several parties, on Ray.",
        epilog="Start with `raycollab run`: eight parties learn handwritten digits together, in about 20 seconds.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    formatter = argparse.RawDescriptionHelpFormatter

    def add(
        name: str, action: Callable[..., Any], help: str, epilog: str | None = None, among: Any = commands
    ) -> argparse.ArgumentParser:
        sub = among.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=epilog,
            formatter_class=formatter,
            allow_abbrev=False,
        )
        sub.set_defaults(action=action, takes_overrides=epilog is not None)
        return sub

    run = add("run", _run, "run an experiment: a YAML file, or the built-in one on handwritten digits", _OVERRIDES)
    run.add_argument("experiment", nargs="?", help="YAML file, a path or URI (default: the built-in digits experiment)")
    run.add_argument("--print-config", action="store_true", help="print the whole resolved experiment and stop")
    run.add_argument("--address", help="Ray cluster to use (default: $RAY_ADDRESS, or a new one on this machine)")
    resume = add("resume", _resume, "continue a run from its folder, to the same bits", _OVERRIDES)
    resume.add_argument("run", help="run folder, such as runs/run-001")
    resume.add_argument("--address", help="Ray cluster to use (default: $RAY_ADDRESS, or a new one on this machine)")
    model_commands(add)
    tune = add("tune", _tune, "try an experiment at many settings: those under search: in its file", _OVERRIDES)
    tune.add_argument("experiment", nargs="?", help="YAML file with a search: section, a path or URI")
    tune.add_argument("--resume", help="folder of a sweep that was cut off, such as runs/sweep-001; it must be yours")
    compare = "then train winner and default, the latter on as many examples as all trials"
    tune.add_argument("--compare", action="store_true", help=compare)
    tune.add_argument("--address", help="Ray cluster to use (default: $RAY_ADDRESS, or a new one on this machine)")
    verify = add(
        "verify", _verify, "run an experiment on 1, 2 and 4 hosts and compare the bits of what comes out", _OVERRIDES
    )
    verify.add_argument(
        "experiment", nargs="?", help="YAML file, a path or URI (default: the built-in digits experiment)"
    )
    verify.add_argument("--address", help="Ray cluster to use (default: $RAY_ADDRESS, or a new one on this machine)")
    data = commands.add_parser("data", help="look at the data of an experiment's agents, where it is")
    looks = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = add("show", _data_show, "draw who holds what: how many rows each agent has, by label", _OVERRIDES, looks)
    show.add_argument("--out", help="PNG file to draw it into as well")
    check = add("check", _data_check, "have each agent look for what is wrong with its data", _OVERRIDES, looks)
    for look in (show, check):
        look.add_argument(
            "experiment", nargs="?", help="YAML file, a path or URI (default: the built-in digits experiment)"
        )
        look.add_argument("--address", help="Ray cluster to ask (default: $RAY_ADDRESS, or this machine)")
    audit_commands(commands, add)
    resume_options(resume)
    cluster_commands(add)
    join = add("join", _join, "let an agent join a run after the round under way")
    join.add_argument("run", help="run folder")
    join.add_argument("agent", help="YAML file with its name, shard and learner, as under agents.init_args.members")
    leave = add("leave", _leave, "let an agent leave a run after the round under way")
    leave.add_argument("run", help="run folder")
    leave.add_argument("name", help="the agent")
    rules = add("rules", _rules, "list what an experiment can name: tasks, data, learners, aggregators, modes and more")
    rules.add_argument(
        "name", nargs="?", help="a kind, such as learners; one in full, such as Median; or your own package.module.Name"
    )
    rules.add_argument("--all", action="store_true", help="print every kind at length")
    parser.add_argument("--version", action="version", version=_version())
    own, overrides = _separate(arguments)
    known = parser.parse_args(own)
    if overrides and not known.takes_overrides:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    return known, overrides


def _separate(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and the settings `--key.sub=value` or `--key.sub value` among them."""
    own: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--") or argument.partition("=")[0] in _OPTIONS:
            own.append(argument)
        elif "=" in argument:
            overrides.append(argument)
        else:
            value = next(rest, None)
            overrides.append(argument if value is None else f"{argument}={value}")
    return own, overrides


def _version() -> str:
    return f"raycollab {import_module('raycollab').__version__}"


def _run(command: argparse.Namespace, overrides: list[str]) -> int:
    files = import_module("raycollab.experiment_file")
    stages = files.read_stages(command.experiment, overrides)
    if stages is not None and not command.print_config:
        return _in_stages(stages, address=command.address)
    if stages is not None:
        sys.stdout.write("\n".join(f"# stage {name}\n{files.to_yaml(each)}" for name, each in stages.items()))
        return 0
    experiment = files.read_experiment(command.experiment, overrides)
    if command.print_config:
        sys.stdout.write(files.to_yaml(experiment.resolved()))
        return 0
    return _conduct(experiment, address=command.address)


def _resume(command: argparse.Namespace, overrides: list[str]) -> int:
    if (command.address or "").startswith(("http://", "https://")):
        return submitted(["resume", command.run, *overrides], command)
    files = import_module("raycollab.experiment_file")
    if (stages := files.read_stages(command.run, overrides)) is not None:
        return _in_stages(stages, address=command.address, resume=command.run)
    experiment = files.read_run(command.run, overrides)
    return _conduct(experiment, address=command.address, resume=command.run)


def _conduct(experiment: Any, **arguments: Any) -> int:
    watching = import_module("raycollab.callbacks").watchers()
    import_module("raycollab.fitting").run_experiment(experiment, callbacks=watching, **arguments)
    return 0


def _in_stages(stages: Any, **arguments: Any) -> int:
    watching = import_module("raycollab.callbacks").watchers()
    result = import_module("raycollab.stages").run_stages(stages, callbacks=watching, **arguments)
    sys.stdout.write(f"\n{result.report()}\nfolder of the stages: {result.path}\n")
    return 0


def _tune(command: argparse.Namespace, overrides: list[str]) -> int:
    if (command.experiment or command.resume) is None:
        raise ConfigError("raycollab tune: give an experiment file with a search: section, or --resume and a sweep")
    sweeps = import_module("raycollab.sweeps")
    asked = sweeps.read_sweep(command.experiment, overrides) if command.experiment else ()
    if command.resume:
        sweep = sweeps.resume_search(command.resume, asked or None, address=command.address)
    else:
        sweep = sweeps.search(*asked, address=command.address)
    sys.stdout.write(f"{sweep.report()}\n\nnext: raycollab run {sweep.path}/winner.yaml\n")
    results = sweep.compare(command.address) if command.compare else ()
    outcome = import_module("raycollab.sweeps.report").outcome
    for name, result in zip(("winner", "default"), results, strict=False):
        sys.stdout.write(f"{outcome(name, result)}\n")
    return 0


def _verify(command: argparse.Namespace, overrides: list[str]) -> int:
    experiment = import_module("raycollab.experiment_file").read_experiment(command.experiment, overrides)
    sys.stdout.write("hosts  rounds  seconds  sha256 of the committed vectors\n")

    def told(each: Any) -> None:
        sys.stdout.write(f"{each.num_hosts:>5}  {each.rounds:>6}  {each.seconds:>7.1f}  {each.digest}\n")
        sys.stdout.flush()

    outcomes = import_module("raycollab.verify").verify(experiment, address=command.address, told=told)
    same = len({each.digest for each in outcomes}) == 1
    sys.stdout.write("the same bits\n" if same else "DIFFERENT BITS\n")
    return 0 if same else 1


def _data_show(command: argparse.Namespace, overrides: list[str]) -> int:
    experiment = import_module("raycollab.experiment_file").read_experiment(command.experiment, overrides)
    import_module("raycollab.survey").show(experiment, address=command.address, out=command.out)
    return 0


def _data_check(command: argparse.Namespace, overrides: list[str]) -> int:
    experiment = import_module("raycollab.experiment_file").read_experiment(command.experiment, overrides)
    import_module("raycollab.survey").check(experiment, address=command.address)
    return 0


def _join(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    control = control_of(command.run)
    agent = import_module("raycollab.experiment_file").read_agent(command.agent)
    card = control.add_agent(command.run, agent)
    sys.stdout.write(f"{card.agent} joined: {card.summary}\n")
    return 0


def _leave(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    control_of(command.run).remove_agent(command.run, command.name)
    sys.stdout.write(f"{command.name} left\n")
    return 0


def _rules(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    catalog = import_module("raycollab.catalog")
    if command.name is not None:
        text = catalog.page(command.name)
    else:
        text = catalog.listing() if command.all else catalog.index(shutil.get_terminal_size((catalog.WIDTH, 0)).columns)
    sys.stdout.write(f"{text}\n")
    return 0
