"""What is wrong with a sweep, found before its first trial."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from raycollab.errors import ConfigError
from raycollab.experiment import Experiment
from raycollab.experiment_file import to_yaml
from raycollab.recipe import only_in_python
from raycollab.runtime.session import build_model
from raycollab.shared_set import SharedSet
from raycollab.sweeps.settings import POPULATIONS, Search, ends, paths
from raycollab.sweeps.trial import at
from raycollab.validation import check_disjoint

_KEPT = ("scaling", "checkpoint", "test", "run.dir", "run.name")  # what all trials of a sweep have in common


def tried(experiment: Experiment, settings: Search) -> str:
    """The experiment that trials run, as YAML: on the validation set."""
    return to_yaml(replace(experiment, test=settings.validation))


def checked(experiment: Experiment, settings: Search) -> tuple[str, str, str]:
    """The experiment that trials run as YAML, the metric and the mode; every setting was tried by itself."""
    missing = only_in_python(experiment.to_plain())
    if missing is not None:
        raise ConfigError(f"search: the experiment holds {missing}, which no trial in another process can be given")
    text = tried(experiment, settings)
    for path, values in settings.space.items():
        kept = next((each for each in _KEPT for one in paths(path) if f"{one}.".startswith(f"{each}.")), None)
        if kept is not None:
            raise ConfigError(f"Search.space[{path!r}]: all trials have {kept} in common; set it in the experiment")
        for value in _tried(values, settings.scheduler):
            try:
                at(text, {path: value}).resolved()
            except ConfigError as error:
                raise ConfigError(f"Search.space[{path!r}]: {value!r} cannot be set there: {error}") from error
    name, higher = experiment.task.primary
    metric = settings.metric or name
    _check_data(experiment, settings, metric)
    if settings.scheduler != "none" and experiment.run.eval_every >= experiment.run.num_rounds:
        raise ConfigError(
            f"Search.scheduler={settings.scheduler!r}: trials are compared in rounds that are evaluated, and "
            f"run.eval_every={experiment.run.eval_every} leaves only the last of {experiment.run.num_rounds}; lower it"
        )
    if settings.searcher == "optuna" and find_spec("optuna") is None:
        raise ConfigError("Search.searcher='optuna': optuna is not installed; run `pip install raycollab[search]`")
    if settings.mlflow is not None and find_spec("mlflow") is None:
        raise ConfigError(f"Search.mlflow={settings.mlflow!r}: mlflow is not installed; run `pip install mlflow`")
    return text, metric, settings.mode or ("max" if higher else "min")


def _tried(values: Mapping[str, Any], scheduler: str) -> Sequence[Any]:
    """Every choice, or the lowest of a range; its highest too where changed values stop there."""
    ((kind, given),) = values.items()
    if kind in ("choice", "grid"):
        return list(given)
    return ends(values)[: 2 if scheduler in POPULATIONS else 1]


def _check_data(experiment: Experiment, settings: Search, metric: str) -> None:
    """Raise DataError unless validation and test set are apart, ConfigError if the metric is not reported."""
    task = experiment.task
    validation = SharedSet(settings.validation, task, "cpu", what="the validation set of the search")
    check_disjoint(validation, SharedSet(experiment.test, task, "cpu"), task)
    validation.check_metrics(f"{metric} >= 0", build_model(task, experiment.exchange, experiment.run.seed).module)
