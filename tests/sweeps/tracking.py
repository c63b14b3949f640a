"""Runs as MLflow keeps them, read back; where it is missing, a stand-in with what Ray Tune asks of it."""

import sys
from collections import defaultdict
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any


class StandIn:
    """Keeps runs in memory, by name."""

    def __init__(self, **places: Any):
        self.places = places

    runs: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - one memory, as of a server

    def create_run(self, run_name: str, experiment_id: str, tags: dict[str, str]) -> Any:
        self.runs[run_name] = {"experiment": experiment_id, "params": {}, "scores": defaultdict(list), "status": ""}
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    def log_param(self, run_id: str, key: str, value: Any) -> None:
        self.runs[run_id]["params"][key] = str(value)

    def log_metric(self, run_id: str, key: str, value: float, step: int) -> None:
        self.runs[run_id]["scores"][key].append((step, value))

    def set_terminated(self, run_id: str, status: str) -> None:
        self.runs[run_id]["status"] = status


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__, module.__path__ = ModuleSpec(name, None), []  # type: ignore[attr-defined]
    module.__dict__.update(content)
    return module


def stand_in(monkeypatch: Any) -> None:
    """Put it in the place of MLflow, where that is missing."""
    if find_spec("mlflow") is not None:
        return
    monkeypatch.setattr(StandIn, "runs", {})
    places: dict[str, str] = {}
    base = _module(
        "mlflow",
        __version__="3.0.0",
        set_tracking_uri=lambda uri: places.update(tracking=uri),
        set_registry_uri=lambda uri: None,
        get_tracking_uri=lambda: places["tracking"],
        get_registry_uri=lambda: None,
        get_experiment_by_name=lambda name: None,
        create_experiment=lambda name, artifact_location: name,
        get_run=lambda run_id: StandIn.runs[run_id],
        active_run=lambda: None,
    )
    modules = [
        base,
        _module("mlflow.exceptions", MlflowException=KeyError),
        _module("mlflow.tracking", MlflowClient=StandIn),
        _module("mlflow.utils"),
        _module("mlflow.utils.mlflow_tags", MLFLOW_RUN_NAME="mlflow.runName"),
    ]
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)


def tracked(uri: str, experiment: str) -> list[dict[str, Any]]:
    """Settings, scores by step and status of the runs of an experiment."""
    client_of = import_module("mlflow.tracking").MlflowClient
    if client_of is StandIn:
        return [run for run in StandIn.runs.values() if run["experiment"] == experiment]
    client = client_of(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return [
        {
            "params": run.data.params,
            "scores": {
                name: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            },
            "status": run.info.status,
        }
        for run in runs
    ]
