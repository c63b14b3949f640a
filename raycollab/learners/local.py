"""The loop that gradient learners share: load, steps, difference."""

from collections.abc import Callable

import torch
from torch import Tensor

from raycollab.errors import UpdateError
from raycollab.params import FlatModel
from raycollab.spec import BUFFERS, DELTA
from raycollab.task import Problem
from raycollab.types import Round, Update


def local_update(
    problem: Problem,
    params: Tensor,
    round: Round,
    *,
    step: Callable[[FlatModel], None],
    batch_size: int,
    epochs: int,
    steps: int | None = None,
) -> Update:
    """Take local steps from params [d] and return the difference.

    Args:
        problem: The agent's problem.
        params: Where to start [d].
        round: Gives the buffers and the seeds of the batches.
        step: Changes the parameters in place, given their gradients.
        batch_size: Examples of a step.
        epochs: Passes over the shard.
        steps: Steps instead of passes, if not None.
    Returns: delta [d], buffers [b]; scalars loss (mean over the examples seen), steps, examples.
    Raises: UpdateError if the loss is not finite.
    """
    model = problem.model
    buffers = round.vectors.get(BUFFERS)
    model.load(params, buffers)
    start = model.read() if model.lossy else params
    model.module.train()
    total_loss = torch.zeros((), device=model.device)
    num_examples = num_steps = 0
    for batch in problem.batches(round, batch_size=batch_size, epochs=epochs, steps=steps):
        loss = problem.backward(batch)
        step(model)
        count = problem.task.count(batch)
        total_loss += loss * count
        num_examples += count
        num_steps += 1
    mean_loss = total_loss.item() / max(num_examples, 1)
    if not mean_loss == mean_loss or mean_loss in (float("inf"), float("-inf")):
        raise UpdateError(
            f"agent {problem.agent!r}: the loss is {mean_loss} in round {round.index}; "
            f"lower lr or clip gradients (max_grad_norm)"
        )
    vectors = {DELTA: model.read().sub_(start)}
    if buffers is not None and buffers.numel():
        vectors[BUFFERS] = model.read_buffers().sub_(buffers)
    scalars = {"loss": mean_loss, "steps": float(num_steps), "examples": float(num_examples)}
    weight = float(problem.shard.num_examples("train"))
    return Update(problem.agent, weight, vectors, scalars, round.base_version)


def clip_gradients(model: FlatModel, max_norm: float) -> None:
    """Scale all gradients so that their common L2 norm is at most max_norm."""
    norm = torch.stack([grad.float().norm() for grad in model.grads]).norm()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for grad in model.grads:
        grad.mul_(scale)
