"""Should an agent's episodes be worked through together? Measured before a run, and written into its experiment."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from raycollab.agent import Agent
from raycollab.data import Shard
from raycollab.determinism import fixed_threads
from raycollab.errors import DataError, ModelError
from raycollab.experiment import Experiment
from raycollab.meta import MetaLearner
from raycollab.runtime.session import build_model
from raycollab.spec import BUFFERS, PARAMS
from raycollab.task import Problem
from raycollab.types import Round

_REPEATS = 3


def decided(experiment: Experiment) -> tuple[Experiment, str]:
    """The experiment with `vectorised` of every meta-learner filled in, and why, in words; as it is where that is set.

    Each one is timed for an outer step with the model and data of the first agent that has it, here, with the run's
    threads. What is measured decides once, as for ScalingConfig.agents_at_once.
    """
    choices: dict[str, bool] = {}
    told: list[str] = []
    for agent in experiment.members():
        for learner in _undecided(agent.learner):
            if repr(learner) not in choices:
                choices[repr(learner)], why = _measured(learner, agent, experiment)
                told.append(why)
    return _with(experiment, choices), "; ".join(told)


def singly(experiment: Experiment) -> Experiment:
    """The experiment with episodes one by one wherever that is left open: nothing is measured."""
    return _with(experiment, {})


def _with(experiment: Experiment, choices: Mapping[str, bool]) -> Experiment:
    return replace(experiment, agents=_filled(experiment.agents, choices), task=_filled(experiment.task, choices))


def _measured(learner: MetaLearner, agent: Agent, experiment: Experiment) -> tuple[bool, str]:
    task, kind = agent.task or experiment.task, type(learner).__name__
    try:
        shard = Shard(agent.shard.read(), val_fraction=0.0, seed=0, name=agent.name)
        model = build_model(task, experiment.exchange, experiment.run.seed, whole=False)
        problem, params = Problem(agent.name, task, model, shard, lambda: False), model.read()
        round = Round(1, 0, 0, {PARAMS: params, BUFFERS: model.read_buffers()})
        with fixed_threads(experiment.scaling.threads_per_host):
            alone, together = (_seconds(learner, vectorised, problem, round) for vectorised in (False, True))
    except (DataError, ModelError) as error:
        return False, f"{kind}: episodes one by one: {error}"
    times = f"{1e3 * together:.3g} ms an outer step together, {1e3 * alone:.3g} ms one by one"
    return together < alone, f"{kind}: episodes {'together' if together < alone else 'one by one'}: {times}"


def _seconds(learner: MetaLearner, vectorised: bool, problem: Problem, round: Round) -> float:
    """Least of a few outer steps, after one that warms up."""
    one = replace(learner, vectorised=vectorised, outer_steps=1, max_dropped=1 - 1 / (learner.episodes + 1))
    times = []
    for _ in range(1 + _REPEATS):
        start = time.perf_counter()
        one.update(problem, round.vectors[PARAMS], one.init(round.vectors[PARAMS]), round)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _undecided(value: Any) -> Iterator[MetaLearner]:
    """Meta-learners inside a learner that leave it open."""
    if isinstance(value, MetaLearner) and value.vectorised is None:
        yield value
    for inner in _parts(value).values():
        yield from _undecided(inner)


def _filled(value: Any, choices: Mapping[str, bool]) -> Any:
    """Settings with the choice in every meta-learner that left it open; one that was not measured takes them singly."""
    if isinstance(value, tuple):
        return tuple(_filled(each, choices) for each in value)
    parts = {name: (inner, _filled(inner, choices)) for name, inner in _parts(value).items()}
    changed = {name: after for name, (before, after) in parts.items() if after is not before and after != before}
    if isinstance(value, MetaLearner) and value.vectorised is None:
        changed["vectorised"] = choices.get(repr(value), False)
    return replace(value, **changed) if changed else value


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, tuple):
        return {str(index): each for index, each in enumerate(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    return {}
