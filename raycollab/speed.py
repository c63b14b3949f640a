"""How many agents should learn in the same steps: measured once, before a run, and written into its experiment."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

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

_SMALL = (1, 2, 3, 4, 5, 6, 8, 10, 16)  # larger ones are twice as large each
_IN_VAIN = 3  # candidates in a row that are no faster, after which larger ones are not tried
_STEPS, _REPEATS = 5, 5


def measured(experiment: Experiment) -> tuple[Experiment, str]:
    """The experiment with ScalingConfig.agents_at_once filled in, and why, in words; as it is where that is set.

    The first agent's model and data are timed, in this process with the run's threads, on the kind of device that
    agents use; where that is a GPU and this process sees none, they learn one by one. What is measured decides once: a
    run that is resumed, or repeated from its experiment.yaml, computes the same bits on any machine of the same kind.
    """
    if experiment.scaling.agents_at_once is not None:
        return experiment, ""
    count, why = _fastest(experiment)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # agents may be about to use the same GPU from other processes
    return replace(experiment, scaling=replace(experiment.scaling, agents_at_once=count)), why


def most_at_once(experiment: Experiment) -> int:
    """Agents of a block that a host gets in a round, about: more never learn in the same steps.

    Where there is to be a host for each CPU of a cluster, this machine's CPUs stand for those.
    """
    selected = experiment.run.agents_per_round or len(experiment.members())
    hosts = 1 if experiment.scaling.pool == "local" else experiment.num_hosts(os.cpu_count() or 1)
    return -(-selected // max(hosts, experiment.fixed_blocks or 1))


def candidates(most: int) -> list[int]:
    """How many agents at once are tried, up to the most that there can be."""
    counts = list(_SMALL)
    while counts[-1] < most:
        counts.append(2 * counts[-1])
    return [*(count for count in counts if count < most), most]


def _fastest(experiment: Experiment) -> tuple[int, str]:
    first, on_gpu = experiment.members()[0], experiment.scaling.gpus_per_host > 0
    task, learner = first.task or experiment.task, first.learner
    device = "cuda" if on_gpu and torch.cuda.is_available() else "cpu"
    model = build_model(task, experiment.exchange, experiment.run.seed, device, whole=False)
    layers = layers_of(model)
    if not (isinstance(learner, SGD) and learner.joint and task.tells_losses and layers is not None):
        return 0, "agents learn one by one: their model or learner cannot share steps"
    if on_gpu and device == "cpu":
        return 0, "agents learn one by one: nothing was measured, as they use a GPU and this process sees none"
    try:
        shard = Shard(first.shard.read(), val_fraction=0.0, seed=0, device=device, name=first.name)
    except DataError as error:
        return 0, f"agents learn one by one: nothing was measured, as the data is not here: {error}"
    learner = replace(learner, steps=_STEPS, schedule=type(learner).schedule)
    problem, params = Problem(first.name, task, model, shard, lambda: False), model.read()
    round = Round(1, 0, 0, {PARAMS: params, BUFFERS: model.read_buffers()})

    def seconds(count: int) -> float:
        """Of a step of one agent."""
        if not count:
            return _least(lambda: learner.update(problem, params, learner.init(params), round)) / _STEPS
        stacked = Stacked(layers, model.spec, count, device)
        group, states = [problem] * count, [learner.init(params)] * count
        return _least(lambda: learner.update_together(group, stacked, params, states, round)) / _STEPS / count

    with fixed_threads(experiment.scaling.threads_per_host):
        times = tried(seconds, candidates(most_at_once(experiment)))
    best = min(times, key=lambda count: (times[count], count))
    milliseconds = f"{1e3 * times[best]:.3g} ms a step of an agent, {1e3 * times[0]:.3g} ms one by one"
    where = f", on {torch.cuda.get_device_name()}" if on_gpu else ""
    return best, f"agents_at_once={best}: {milliseconds}{where}"


def tried(seconds: Callable[[int], float], counts: Sequence[int]) -> dict[int, float]:
    """Seconds of agents one by one (0), and of these many at once until more are no faster, or memory is short."""
    alone, times = seconds(0), dict[int, float]()
    for count in counts:
        try:
            times[count] = seconds(count)
        except torch.OutOfMemoryError:
            break
        order = list(times)
        if order.index(count) - order.index(min(order, key=times.__getitem__)) >= _IN_VAIN:
            break
    return {0: alone, **times}


def _least(run: Callable[[], object]) -> float:
    """Least seconds of a few calls until all that they began is done, after one that warms up."""
    times = []
    for _ in range(1 + _REPEATS):
        start = time.perf_counter()
        run()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])
