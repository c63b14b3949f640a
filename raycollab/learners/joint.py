"""Several agents that learn in the same steps: their batches side by side, their parameters stacked."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from raycollab.errors import UpdateError
from raycollab.fused import Descent, Stacked
from raycollab.learners.local import LocalLearner, local_scalars, not_finite
from raycollab.spec import DELTA
from raycollab.task import Problem
from raycollab.types import Batch, Round, Update


def train_together(
    learner: LocalLearner,
    problems: Sequence[Problem],
    stacked: Stacked,
    params: Tensor,
    round: Round,
    descent: Callable[[float], Descent],
) -> list[Update | UpdateError]:
    """Take the local steps of agents that have as many examples each; what LocalLearner.train does for one of them.

    Args:
        learner: Gives epochs, steps, batches and the schedule.
        problems: One per agent, all of one task.
        stacked: As many copies of the model.
        params: Where all of them start [d].
        round: Gives the seeds of the batches.
        descent: Makes a step, given the schedule's factor on the learning rate.
    Returns: An update for each agent, or what is wrong with it.
    """
    task = problems[0].task
    stacked.load(params)
    factors, counted = list[float](), 0
    total_losses = torch.zeros(stacked.count, device=params.device)
    factor = learner.factors(problems[0], round)
    for batches in zip(*(learner.batches(problem, round) for problem in problems), strict=True):
        batch = _side_by_side(batches)
        count = task.count(batches[0])
        factors.append(factor(len(factors)))
        losses = partial(task.losses_and_gradients, batch)
        total_losses.add_(stacked.step(task.inputs_of(batch), losses, descent(factors[-1])), alpha=count)
        counted += count
    scalars = local_scalars(learner, factors, counted)
    outcomes: list[Update | UpdateError] = []
    for problem, total, delta in zip(problems, total_losses.tolist(), stacked.deltas(params), strict=True):
        loss = total / max(counted, 1)
        if math.isfinite(loss):
            vectors = {DELTA: delta}
            weight = float(problem.shard.num_examples("train"))
            outcomes.append(Update(problem.agent, weight, vectors, {"loss": loss, **scalars}, round.base_version))
        else:
            outcomes.append(not_finite(problem, loss, round))
    return outcomes


def _side_by_side(batches: Sequence[Batch]) -> Batch:
    """Batches of agents one after the other, column by column."""

    def joined(values: list[Any]) -> Any:
        if isinstance(values[0], Mapping):
            return {name: joined([value[name] for value in values]) for name in values[0]}
        return torch.cat(values)

    return joined(list(batches)) if len(batches) > 1 else batches[0]
