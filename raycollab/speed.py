"""How many agents should learn in the same steps: measured once, before a run, and written into its experiment."""

import time
from collections.abc import Callable
from dataclasses import replace

from raycollab.data import Shard
from raycollab.determinism import fixed_threads
from raycollab.errors import DataError
from raycollab.experiment import Experiment
from raycollab.fused import Stacked, layers_of
from raycollab.learners import SGD
from raycollab.runtime.session import build_model
from raycollab.spec import BUFFERS, PARAMS
from raycollab.task import Problem
from raycollab.types import Round

_CANDIDATES = (1, 2, 3, 4, 5, 6, 8, 10, 16, 32)
_STEPS, _REPEATS = 5, 5


def measured(experiment: Experiment) -> tuple[Experiment, str]:
    """The experiment with ScalingConfig.agents_at_once filled in, and why, in words; as it is where that is set.

    The first agent's model and data are timed, here, with the run's threads. What is measured decides once: a run that
    is resumed, or repeated from its experiment.yaml, computes the same bits on any machine of the same kind.
    """
    if experiment.scaling.agents_at_once is not None:
        return experiment, ""
    count, why = _fastest(experiment)
    return replace(experiment, scaling=replace(experiment.scaling, agents_at_once=count)), why


def _fastest(experiment: Experiment) -> tuple[int, str]:
    first = experiment.members()[0]
    task, learner = first.task or experiment.task, first.learner
    model = build_model(task, experiment.exchange, experiment.run.seed, whole=False)
    layers = layers_of(model)
    if not (isinstance(learner, SGD) and learner.joint and task.tells_losses and layers is not None):
        return 0, "agents learn one by one: their model or learner cannot share steps"
    try:
        shard = Shard(first.shard.read(), val_fraction=0.0, seed=0, name=first.name)
    except DataError as error:
        return 0, f"agents learn one by one: nothing was measured, as the data is not here: {error}"
    learner = replace(learner, steps=_STEPS, schedule=type(learner).schedule)
    problem, params = Problem(first.name, task, model, shard, lambda: False), model.read()
    round = Round(1, 0, 0, {PARAMS: params, BUFFERS: model.read_buffers()})

    def seconds(count: int) -> float:
        """Of a step of one agent."""
        if not count:
            return _least(lambda: learner.update(problem, params, learner.init(params), round)) / _STEPS
        stacked = Stacked(layers, model.spec, count)
        group, states = [problem] * count, [learner.init(params)] * count
        return _least(lambda: learner.update_together(group, stacked, params, states, round)) / _STEPS / count

    with fixed_threads(experiment.scaling.threads_per_host):
        times = {count: seconds(count) for count in (0, *_CANDIDATES)}
    best = min(times, key=lambda count: (times[count], count))
    milliseconds = f"{1e3 * times[best]:.2f} ms a step of an agent, {1e3 * times[0]:.2f} ms one by one"
    return best, f"agents_at_once={best}: {milliseconds}"


def _least(run: Callable[[], object]) -> float:
    """Least seconds of a few calls, after one that warms up."""
    run()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
