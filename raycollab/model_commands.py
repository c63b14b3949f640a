"""What the command line does with trained models: score, predict, adapt, hand over."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from raycollab.errors import ConfigError

OPTIONS = (
    *("--data", "--out", "--trust", "--format", "--merged", "--separate", "--agent", "--local-only", "--width"),
    *("--steps", "--shots", "--support", "--episodes"),
)


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `evaluate`, `predict`, `adapt` and `export`; `add` makes a command of a name, an action and its help."""
    evaluate = add("evaluate", _evaluate, "score a trained model on its shared test set, or on a file")
    evaluate.add_argument("run", help="run folder, or its model/ folder")
    evaluate.add_argument(
        "--data", help="labelled Parquet, Arrow, CSV or JSON-lines file (default: the test set, an agent's own if any)"
    )
    evaluate.add_argument(
        "--local-only", action="store_true", help="let each agent learn alone, once, and show it beside the others"
    )
    predict = add("predict", _predict, "predict the rows of a file with a trained model")
    predict.add_argument("run", help="run folder, or its model/ folder")
    predict.add_argument("data", help="Parquet, Arrow, CSV or JSON-lines file with the task's input columns")
    predict.add_argument("--out", required=True, help="Parquet file to write")
    adapt = add("adapt", _adapt, "adapt a trained model to a new party's few examples")
    adapt.add_argument("run", help="run folder, or its model/ folder")
    adapt.add_argument("data", help="Parquet, Arrow, CSV or JSON-lines file with the examples and their labels")
    adapt.add_argument("--trust", action="append", default=[], help="package that the model's recipe may import from")
    adapt.add_argument("--out", required=True, help="folder to write the adapted model into")
    curve = add("curve", _curve, "score a trained model after adaptation, over inner steps or numbers of examples")
    curve.add_argument("run", help="run folder, or its model/ folder")
    curve.add_argument("--data", help="labelled file of a new party (default: the run's test set)")
    for setting, meaning in (
        ("steps", "inner steps"),
        ("shots", "shots of FewShot"),
        ("support", "examples of others"),
    ):
        curve.add_argument(f"--{setting}", type=int, nargs="+", help=f"numbers of {meaning}: 1 5 10")
    curve.add_argument("--episodes", type=int, default=600, help="episodes of each point (default: 600)")
    curve.add_argument("--out", help="PNG file to draw it into as well")
    curve.add_argument("--trust", action="append", default=[], help="package that the model's recipe may import from")
    export = add("export", _export, "write a trained model in the form that other programs read")
    export.add_argument("run", help="run folder, or its model/ folder")
    export.add_argument("--out", required=True, help="folder to write")
    export.add_argument("--format", help="transformers, safetensors or onnx (default: transformers for its models)")
    adapters = export.add_mutually_exclusive_group()
    adapters.add_argument("--merged", action="store_true", help="add adapters to the weights they change (default)")
    adapters.add_argument("--separate", action="store_true", help="write the adapters alone, as a folder of peft")
    export.add_argument("--width", type=float, help="write a narrower net, this share of its hidden channels: 0.5")
    for use in (evaluate, predict, export):
        use.add_argument("--agent", help="this agent's own model: with its private part, of its task")
        use.add_argument("--trust", action="append", default=[], help="package that the model's recipe may import from")


def _evaluate(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    deploy, agent, trusted = import_module("raycollab.deploy"), command.agent, tuple(command.trust)
    if command.local_only and (agent is not None or command.data is not None):
        raise ConfigError("evaluate --local-only compares all agents of a run; leave --agent and --data away")
    model = deploy.load_model(command.run, agent=agent, trusted=trusted)
    own = deploy.own_test(command.run, agent, trusted) if agent is not None and command.data is None else None
    read_run = import_module("raycollab.experiment_file").read_run
    source = model.source(command.data) if command.data is not None else own or read_run(command.run).test
    report = import_module("raycollab.result").statistics_report(model.evaluate(source))
    sys.stdout.write(f"{report}\n")
    if agent is None and command.data is None:
        comparing = import_module("raycollab.comparing")
        if command.local_only:
            comparing.run_alone(command.run)
        agents = comparing.side_by_side(command.run, model.task.primary)
        sys.stdout.write(f"\n{agents}\n" if agents else "")
    return 0


def _predict(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    deploy = import_module("raycollab.deploy")
    model = deploy.load_model(command.run, agent=command.agent, trusted=tuple(command.trust))
    count = import_module("raycollab.predicting").predict_file(model, command.data, command.out)
    sys.stdout.write(f"{count:,} predictions written to {command.out}\n")
    return 0


def _adapt(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    model = import_module("raycollab.deploy").load_model(command.run, trusted=tuple(command.trust))
    learner = _learner(model, command.run)
    count = import_module("raycollab.adapting").adapt_file(model, command.data, command.out, learner)
    sys.stdout.write(f"adapted to {count:,} examples; next: raycollab predict {command.out} DATA.parquet --out ...\n")
    return 0


def _curve(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    meta, deploy = import_module("raycollab.meta"), import_module("raycollab.deploy")
    asked = {name: getattr(command, name) for name in ("steps", "shots", "support") if getattr(command, name)}
    if not asked:
        raise ConfigError(
            "curve: over what? Give --steps, --shots or --support and their values, such as --steps 0 1 5"
        )
    model = deploy.load_model(command.run, trusted=tuple(command.trust))
    learner = _learner(model, command.run)
    if not isinstance(learner, meta.MetaLearner):
        raise ConfigError(f"curve: {type(learner).__name__} does not adapt; the run must be of a meta-learner")
    learner = replace(learner, tasks=getattr(model.task, "tasks", None) or learner.tasks)
    read_run = import_module("raycollab.experiment_file").read_run
    source = model.source(command.data) if command.data is not None else read_run(command.run).test
    shard = import_module("raycollab.data").Shard(source.read(), val_fraction=0.0, seed=0)
    metric = model.task.primary[0]
    settings = {"episodes": command.episodes, "metric": metric, "seed": getattr(model.task, "seed", 0)}
    curves = {name: meta.curve(model, learner, shard, name, values, **settings) for name, values in asked.items()}
    sys.stdout.write(f"{meta.curve_table(curves, metric)}\n")
    if command.out is not None:
        storage, name = import_module("raycollab.storage").Storage.holding(command.out)
        storage.write_bytes(name, meta.curve_picture(curves, metric))
        sys.stdout.write(f"drawn into {command.out}\n")
    return 0


def _learner(model: Any, run: str) -> Any:
    """A MetaTask's, or that of the run's first agent."""
    learner = getattr(model.task, "learner", None)
    return learner or import_module("raycollab.experiment_file").read_run(run).members()[0].learner


def _export(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    exported = import_module("raycollab.exporting").export(
        command.run,
        command.out,
        format=command.format,
        merged=not command.separate,
        agent=command.agent,
        trusted=tuple(command.trust),
        holds=None if command.width is None else import_module("raycollab.models").Width(command.width),
    )
    sys.stdout.write(f"{exported}\n")
    return 0
