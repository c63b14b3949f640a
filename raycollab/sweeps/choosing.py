"""How a sweep chooses what to try: its space, searcher and scheduler in Ray Tune's own forms."""

import json
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

import yaml
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from raycollab.overrides import standing
from raycollab.sweeps.population import lasting
from raycollab.sweeps.settings import POPULATIONS, Search, ends, paths


def domains(settings: Search) -> dict[str, Any]:
    """What each setting may be; rules and lists travel as JSON, which Tune does not look into."""
    return {path: _domain(*next(iter(values.items()))) for path, values in settings.space.items()}


def beginnings(settings: Search, text: str) -> dict[str, Any]:
    """What trials begin with: what is drawn, or what stands in their experiment's YAML."""
    if not settings.as_given:
        return domains(settings)
    plain = yaml.safe_load(text)
    own = [standing(plain, paths(name)[0]) for name in settings.space]
    return dict(zip(settings.space, _plain(own), strict=True))


def searcher(settings: Search, at_once: int) -> Any:
    """Who says what is tried next."""
    if settings.searcher == "random":  # of a population, those that are paused would count among those at once
        most = 0 if settings.scheduler in POPULATIONS else at_once
        return BasicVariantGenerator(max_concurrent=most, random_state=settings.seed)
    return import_module("ray.tune.search.optuna").OptunaSearch(seed=settings.seed)


def scheduler(settings: Search, num_rounds: int) -> TrialScheduler:
    """Who says which trials go on."""
    if settings.scheduler == "asha":
        grace = min(settings.grace, num_rounds)
        return ASHAScheduler(time_attr="round", max_t=num_rounds, grace_period=grace, reduction_factor=2)
    if settings.scheduler == "pbt":
        return lasting(PopulationBasedTraining)(
            time_attr="round",
            perturbation_interval=settings.grace,
            hyperparam_mutations=_changes(settings),
            custom_explore_fn=partial(_within, settings.space),
            synch=True,
        )
    if settings.scheduler == "pb2":
        return lasting(import_module("ray.tune.schedulers.pb2").PB2)(
            time_attr="round",
            perturbation_interval=settings.grace,
            hyperparam_bounds={path: list(*values.values()) for path, values in settings.space.items()},
            custom_explore_fn=partial(_within, settings.space),
            synch=True,
        )
    return FIFOScheduler()


def loggers(settings: Search, name: str) -> list[Any]:
    """Who is told of trials beside the files in the sweep's folder."""
    if settings.mlflow is None:
        return []
    module = import_module("ray.air.integrations.mlflow")
    return [module.MLflowLoggerCallback(tracking_uri=settings.mlflow, experiment_name=name)]


def checkpoints_kept(settings: Search) -> int:
    """Checkpoints of a trial: at least back to the last comparison, after which others may still begin from it."""
    return settings.grace + 2 if settings.scheduler in POPULATIONS else 2


def _domain(kind: str, given: list[Any]) -> Any:
    if kind in ("choice", "grid"):
        return tune.choice(_plain(given)) if kind == "choice" else tune.grid_search(_plain(given))
    return getattr(tune, kind)(*given)


def _plain(given: list[Any]) -> list[Any]:
    return [json.dumps(value) if isinstance(value, dict | list) else value for value in given]


def _changes(settings: Search) -> dict[str, Any]:
    """Choices as lists, along which Tune goes one to the left or right; of numbers it takes 0.8 or 1.2 times."""
    choices = {path: _plain(values["choice"]) for path, values in settings.space.items() if "choice" in values}
    return {**domains(settings), **choices}


def _within(space: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Changed settings, no further than to the ends of their ranges."""
    kept = dict(config)
    for path, values in space.items():
        if "choice" not in values:
            low, high = ends(values)
            kept[path] = min(max(kept[path], low), high)
    return kept
