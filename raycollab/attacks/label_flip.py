"""Wrong labels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from raycollab.attacks.base import LocalAttack
from raycollab.attacks.forged import Disguised
from raycollab.errors import ConfigError
from raycollab.learners import Learner
from raycollab.task import Problem, Shard, Task
from raycollab.tasks import Classification
from raycollab.types import Batch, Round, State, Update


@dataclass(frozen=True)
class LabelFlip(LocalAttack):
    """Trains honestly on wrong labels; what it is scored on, its own validation data, keeps the right ones.

    Raises: ConfigError for an agent whose task is no Classification.
    Source: Tolpegin et al., ESORICS 2020, arXiv 2007.08432; which label becomes which is Karimireddy et al.,
        ICLR 2022, arXiv 2006.09365, section 6: 9 - y for ten classes.
    """

    name = "label_flip"
    formula = "y -> num_classes - 1 - y"

    def learner(self, learner: Learner, task: Task) -> Learner:
        """The learner, on other labels."""
        if not isinstance(task, Classification):
            raise ConfigError(
                f"Attack.kind='label_flip': {type(task).__name__} has no labels to flip; it needs a Classification"
            )
        return Mislabelled(learner, task.label, task.num_classes)


@dataclass(frozen=True)
class Mislabelled(Disguised):
    """Learns as another learner does, from flipped labels.

    Args:
        learner: The learner.
        label: Column of labels.
        num_classes: Labels are 0 .. num_classes - 1.
    """

    label: str
    num_classes: int

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn from the same examples under other labels."""
        shard = FlippedShard(problem.shard, self.label, self.num_classes)
        return self.learner.update(replace(problem, shard=shard), params, state, round)


@dataclass(frozen=True)
class FlippedShard:
    """A shard with the labels of its batches counted from the other end."""

    shard: Shard
    label: str
    num_classes: int

    def num_examples(self, split: str = "train") -> int:
        """That of the shard."""
        return self.shard.num_examples(split)

    def batches(self, split: str, batch_size: int, *, seed: int | None, drop_last: bool = False) -> Iterator[Batch]:
        """The shard's batches, those for training with other labels."""
        for batch in self.shard.batches(split, batch_size, seed=seed, drop_last=drop_last):
            yield {**batch, self.label: self.num_classes - 1 - batch[self.label]} if split == "train" else batch
