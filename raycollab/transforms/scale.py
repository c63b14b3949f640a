"""A factor on the delta that follows a schedule: a server learning rate."""

from dataclasses import dataclass

from torch import Tensor

from raycollab.schedules import Schedule
from raycollab.settings import require
from raycollab.transforms.base import Transform
from raycollab.types import State


@dataclass(frozen=True)
class Scale(Transform):
    """Multiplies a delta by the schedule's factor after the rounds so far.

    Right of the aggregator it is the schedule of the server's learning rate; left of it an agent counts the rounds that
    it took part in.

    Args:
        schedule: The factor; it must count rounds.
    """

    schedule: Schedule

    formula = "factor(rounds so far) * delta"

    def __post_init__(self) -> None:
        accepted = "must be a schedule such as rc.Cosine(length=100)"
        require(isinstance(self.schedule, Schedule), "Scale.schedule", self.schedule, accepted)
        over = self.schedule.over
        require(over == "rounds", "Scale.schedule.over", over, "must be 'rounds': nothing else is counted here")

    def init(self, params: Tensor) -> State:
        """No round so far."""
        del params
        return {"rounds": 0}

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Multiply, and count the round."""
        del params, seed
        return delta * self.schedule.factor(state["rounds"]), {"rounds": state["rounds"] + 1}
