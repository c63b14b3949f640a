"""What a sweep tries, and how it chooses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raycollab.data import Source
from raycollab.errors import ConfigError
from raycollab.recipe import to_plain
from raycollab.settings import Settings, require

KINDS = ("choice", "grid", "uniform", "loguniform", "randint")
POPULATIONS = ("pbt", "pb2")  # schedulers that change settings while trials run
_SCHEDULERS = ("asha", *POPULATIONS, "none")
_SEARCHERS = ("random", "optuna")


@dataclass(frozen=True)
class Search(Settings):
    """What a sweep tries, and how it chooses.

    Args:
        space: Values by the path of a setting, as on the command line: `{"chain.1.beta": {"uniform": [0, 0.95]}}`.
            Several paths, with spaces between them, get the same value.
            "choice" and "grid" take a list of any values, whole rules among them; "uniform", "loguniform" and
            "randint" the lowest and the highest, which randint leaves out. What the experiment leaves to be measured
            (`agents_at_once`, `vectorised`) is measured once, before the first trial; in a learner among the values it
            is to be said, or episodes are worked through one by one.
        validation: Data that trials are scored on instead of the test set, of which it may hold no row.
        metric: What is compared; empty takes the task's primary one.
        mode: "max" or "min"; empty goes by the task's primary metric.
        num_samples: Trials; for each point of the grid, if there is one.
        scheduler: "asha" stops the worse half of trials at 1, 2, 4 ... times `grace` rounds; "pbt" lets the worse ones
            go on from a better one's checkpoint with changed settings every `grace` rounds; "pb2" does too, and chooses
            the settings, all of them numbers in ranges, by a Gaussian process over the gains so far; "none" runs all to
            the end.
        grace: Rounds before a trial may be stopped or changed.
        searcher: "random", or "optuna", which learns from the trials before; for that, install raycollab[search].
        budget_s: Seconds after which no trial goes on; None for no limit.
        max_concurrent: Trials at once; None takes as many as fit, as "pbt" and "pb2" always do.
        as_given: Whether trials of "pbt" and "pb2" begin with the experiment's own settings, not with drawn ones.
        seed: Seed of what is tried; "pbt" and "pb2" draw their changes anew each time.
        mlflow: Where MLflow keeps settings and scores of the trials too, such as "http://tracking:5000"; None for
            nowhere. A trial that is resumed is a further run there.
    Raises: ConfigError for what cannot be searched.
    Source: "pb2" is Parker-Holder et al., NeurIPS 2020, arXiv 2002.02518, in Ray Tune's version.
    """

    space: Mapping[str, Any]
    validation: Source
    metric: str = ""
    mode: str = ""
    num_samples: int = 8
    scheduler: str = "asha"
    grace: int = 1
    searcher: str = "random"
    budget_s: float | None = None
    max_concurrent: int | None = None
    as_given: bool = False
    seed: int = 0
    mlflow: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.space, Mapping) or not self.space:
            raise ConfigError(
                f"Search.space={self.space!r}: must name what is tried, such as {{'run.seed': {{'choice': [0, 1]}}}}"
            )
        for path, values in self.space.items():
            _check(path, values)
        object.__setattr__(self, "space", to_plain(dict(self.space)))  # rules as a file would name them
        if not isinstance(self.validation, Source):
            raise ConfigError(
                f"Search.validation={self.validation!r}: must be a Source, such as Parquet('val.parquet')"
            )
        require(self.mode in ("", "max", "min"), "Search.mode", self.mode, "must be 'max', 'min' or empty")
        require(bool(self.mode) or not self.metric, "Search.mode", self.mode, f"say how {self.metric!r} is better")
        for name in ("num_samples", "grace"):
            require(getattr(self, name) >= 1, f"Search.{name}", getattr(self, name), "must be >= 1")
        for name, choices in (("scheduler", _SCHEDULERS), ("searcher", _SEARCHERS)):
            require(getattr(self, name) in choices, f"Search.{name}", getattr(self, name), f"must be one of {choices}")
        alone = self.searcher == "random" or not any("grid" in values for values in self.space.values())
        require(alone, "Search.searcher", self.searcher, "chooses by itself: write choice instead of grid")
        positive = self.budget_s is None or self.budget_s > 0
        require(positive, "Search.budget_s", self.budget_s, "must be > 0 seconds, or null for no limit")
        at_once = self.max_concurrent is None or self.max_concurrent >= 1
        require(at_once, "Search.max_concurrent", self.max_concurrent, "must be >= 1, or null for as many as fit")
        require(self.mlflow != "", "Search.mlflow", self.mlflow, "must be where MLflow keeps runs, or null for nowhere")
        alike = not self.as_given or self.scheduler in POPULATIONS
        require(alike, "Search.as_given", self.as_given, "all trials would be the same: set scheduler='pbt' or 'pb2'")
        if self.scheduler in POPULATIONS:
            self._check_population()

    def _check_population(self) -> None:
        """Raise ConfigError for what cannot be changed while trials run."""
        name = self.scheduler
        kinds = {kind for values in self.space.values() for kind in values}
        require("grid" not in kinds, "Search.scheduler", name, "draws new values: write choice instead of grid")
        ranges = name != "pb2" or "choice" not in kinds
        require(ranges, "Search.scheduler", name, "models numbers in ranges: take 'pbt' where there are choices")
        random = self.searcher == "random"
        require(random, "Search.searcher", self.searcher, f"scheduler={name!r} chooses by itself: take 'random'")
        most = self.max_concurrent
        require(most is None, "Search.max_concurrent", most, f"{name!r} pauses trials to compare all: leave it null")


def paths(name: str) -> list[str]:
    """The paths that a name in a space stands for."""
    return name.split()


def ends(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """The lowest and the highest value of a range."""
    ((kind, (low, high)),) = values.items()
    return low, high - 1 if kind == "randint" else high


def _check(path: Any, values: Any) -> None:
    name = f"Search.space[{path!r}]"
    text = isinstance(path, str) and bool(paths(path))
    require(text, name, values, "the path of a setting is text, such as 'chain.0.max_norm'")
    form = isinstance(values, Mapping) and len(values) == 1 and next(iter(values)) in KINDS
    accepted = f"must be one of {', '.join(KINDS)} with its values, such as {{'choice': [1, 2]}}"
    require(form, name, values, accepted)
    ((kind, given),) = values.items()
    listed = isinstance(given, list | tuple) and len(given) >= 1
    require(listed, name, values, "must have a list of values")
    if kind in ("choice", "grid"):
        return
    numbers = len(given) == 2 and all(isinstance(v, int | float) and math.isfinite(v) for v in given)
    require(numbers and given[0] < given[1], name, values, "must have two numbers, the lower one first")
    require(kind != "loguniform" or given[0] > 0, name, values, "must be above 0 for loguniform")
    whole = kind != "randint" or all(isinstance(v, int) for v in given)
    require(whole, name, values, "must be whole numbers for randint")
