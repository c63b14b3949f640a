"""How many examples had each modality, beside what another learner sends."""

from dataclasses import dataclass, replace

from torch import Tensor

from raycollab.data import presence_of
from raycollab.learners.base import Learner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class ModalityCounts(LearnerWrapper):
    """Sends the number of training examples that have something in each column, as "with[COLUMN]", then learns.

    `PerGroup({"image.*": Mean(scalar="with[image]"), "*": Mean()})` weighs an encoder by them. A column that an agent
    does not hold counts 0.

    Args:
        learner: Takes the steps.
        columns: Columns of the modalities.
    """

    columns: tuple[str, ...]

    formula = "with[m] = number of examples that have modality m"

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        accepted = "must be a Learner, such as SGD"
        require(isinstance(self.learner, Learner), "ModalityCounts.learner", self.learner, accepted)
        require(bool(self.columns), "ModalityCounts.columns", self.columns, "must name columns, such as ('image',)")

    @property
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner sends, and the counts."""
        return (*self.learner.sends, *map(count_of, self.columns))

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Let the learner work, and count."""
        update, state = self.learner.update(problem, params, state, round)
        counts = dict.fromkeys(map(count_of, self.columns), 0.0)
        for batch in problem.shard.batches("train", 1024, seed=None):
            for column in (each for each in self.columns if each in batch):
                mark = batch.get(presence_of(column))
                counts[count_of(column)] += float(len(batch[column]) if mark is None else mark.sum())
        return replace(update, scalars={**update.scalars, **counts}), state


def count_of(column: str) -> str:
    """What the number of examples that have something in a column is called."""
    return f"with[{column}]"
