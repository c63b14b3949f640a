"""What all parties of a vertical run know of it."""

from dataclasses import dataclass

from raycollab.fusion import Fusion
from raycollab.settings import Settings, require
from raycollab.task import Task
from raycollab.vertical.rows import HeldOut


@dataclass(frozen=True)
class Plan(Settings):
    """What is learned, and by which batches.

    Args:
        task: The loss and the metrics, and the head: its net takes the fused vector, which the task knows as its one
            column of inputs.
        fusion: Makes that vector of the parties' activations.
        held_out: Which rows nobody trains on.
        batch_size: Rows of a batch.
        seed: Of first weights, the order of rows and dropout.
        threads: Each party computes with; their number can change the last bits.
    """

    task: Task
    fusion: Fusion
    held_out: HeldOut
    batch_size: int
    seed: int
    threads: int

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "must be >= 1")
        name = type(self.fusion).__name__
        vector = not self.fusion.decides
        require(vector, "fusion", name, "makes the outputs itself; the task's net is the head here: take Concatenation")
        one = isinstance(getattr(self.task, "inputs", None), str) and isinstance(getattr(self.task, "label", None), str)
        accepted = "must have one column of inputs, which stands for the fused vector, and one of labels"
        require(one and hasattr(self.task, "net"), "task", type(self.task).__name__, accepted)

    @property
    def fused(self) -> str:
        """What the task calls the fused vector."""
        return str(getattr(self.task, "inputs", ""))

    @property
    def label(self) -> str:
        """What the task calls the labels."""
        return str(getattr(self.task, "label", ""))
