"""Replay: what was seen before is learned again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from raycollab.adapt.buffer import Buffer
from raycollab.adapt.rehearsal import Rehearsing
from raycollab.learners import Learner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update

_CHUNK = 1024


@dataclass(frozen=True)
class Replay(LearnerWrapper):
    """Keeps some examples of all rounds, and puts some of them into every batch.

    They stay with the agent, in its private state.

    Args:
        learner: Takes the steps.
        buffer: Which examples are kept.
        share: Of each batch that is replayed, in (0, 1); batches become larger by it.
    Source: Chaudhry et al., 2019, arXiv 1902.10486, Algorithm 1 (experience replay), with the examples of a round added
        at its end.
    """

    buffer: Buffer = Buffer()  # noqa: RUF009 - frozen
    share: float = 0.5

    remembers: ClassVar[bool] = True  # type: ignore[misc]
    formula = "each batch: b new examples and b share / (1 - share) from the buffer"

    def __post_init__(self) -> None:
        require(isinstance(self.learner, Learner), "Replay.learner", self.learner, "must be a Learner, such as SGD")
        require(isinstance(self.buffer, Buffer), "Replay.buffer", self.buffer, "must be a Buffer, such as Buffer(500)")
        require(0 < self.share < 1, "Replay.share", self.share, "must be in (0, 1)")

    def init(self, params: Tensor) -> State:
        """Nothing kept."""
        return {"learner": self.learner.init(params), "buffer": self.buffer.init()}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn from mixed batches, then keep some of the new examples."""
        rows = state["buffer"]["rows"]
        mixed = problem if rows is None else replace(problem, shard=Rehearsing(problem.shard, rows, self.share))
        update, learned = self.learner.update(mixed, params, state["learner"], round)
        buffer = state["buffer"]
        for number, batch in enumerate(problem.shard.batches("train", _CHUNK, seed=None)):
            buffer = self.buffer.add(batch, buffer, seed=round.seed_for("buffer", problem.agent, number))
        return update, {"learner": learned, "buffer": buffer}

    def own_model(self, problem: Problem, vectors: Mapping[str, Tensor], state: State) -> dict[str, Tensor] | None:
        """The learner's."""
        return self.learner.own_model(problem, vectors, state["learner"])
