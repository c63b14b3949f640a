"""A public set that all parties can read, and how to learn from what they together say of it."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from raycollab.data import Shard, Source
from raycollab.data.base import Columns, read_columns
from raycollab.errors import DataError, ModelError
from raycollab.models import CONSENSUS
from raycollab.spec import BUFFERS, Entry
from raycollab.task import Problem
from raycollab.types import Batch, Round

_BATCH = 1024


def consensus_place(problem: Problem) -> Entry:
    """Where the consensus [p, c] stands among the exchanged buffers.

    Raises: ModelError if it is not there.
    """
    for entry in problem.model.spec.buffers:
        if entry.name == CONSENSUS:
            return entry
    raise ModelError(
        f"agent {problem.agent!r}: its model has no exchanged buffer {CONSENSUS!r}; wrap its net in "
        f"models.WithConsensus, and exchange {CONSENSUS!r}"
    )


def public_columns(problem: Problem, public: Source, count: int) -> Columns:
    """The first examples of the public set.

    Raises: DataError if there are not enough.
    """
    columns = read_columns(public)
    there = len(next(iter(columns.values())))
    if there < count:
        raise DataError(f"{public.describe()}: {there} public examples; WithConsensus.num_examples={count} needs more")
    return {name: column[:count].to(problem.model.device) for name, column in columns.items()}


def say(problem: Problem, columns: Columns) -> Tensor:
    """The agent's logits of public examples [p, c], in evaluation mode."""
    module = problem.model.module
    was_training = module.training
    module.eval()
    with torch.no_grad():
        batches = Shard(columns, val_fraction=0.0, seed=0, device=problem.model.device)
        logits = [problem.task.logits(module, batch) for batch in batches.batches("train", _BATCH, seed=None)]
    module.train(was_training)
    return torch.cat(logits).float()


def soft_problem(problem: Problem, public: Source, round: Round, temperature: float) -> Problem:
    """The problem of saying what the round's consensus says of the public set."""
    place = consensus_place(problem)
    columns = public_columns(problem, public, place.shape[0])
    consensus = round.vectors[BUFFERS][place.offset : place.stop].view(place.shape)
    shard = Shard({**columns, CONSENSUS: consensus}, val_fraction=0.0, seed=0, device=problem.model.device)
    given = {field.name: getattr(problem, field.name) for field in fields(problem)}
    return _Soft(**{**given, "shard": shard}, temperature=temperature)


@dataclass(frozen=True)
class _Soft(Problem):
    """A problem whose loss is T^2 * KL(softmax(consensus / T) || softmax(logits / T))."""

    temperature: float

    def loss(self, batch: Batch) -> Tensor:
        logits = self.task.logits(self.model.module, batch)
        goal, found = (functional.log_softmax(each / self.temperature, 1) for each in (batch[CONSENSUS], logits))
        return self.temperature**2 * functional.kl_div(found, goal, reduction="batchmean", log_target=True)
