"""A policy: what is watched, what tells that it has drifted, and what is done then."""

from dataclasses import dataclass

from raycollab.adapt.action import Action
from raycollab.adapt.detector import Detector
from raycollab.adapt.signals import check_signal
from raycollab.settings import Settings, require


@dataclass(frozen=True)
class Watch(Settings):
    """One line of a policy.

    Args:
        signal: "inputs", "features", "predictions" or "loss"; see `raycollab.adapt.signals`.
        detector: Tells that it has drifted.
        actions: What is done then: the first that was not rolled back; none only reports the drift.
    """

    signal: str
    detector: Detector
    actions: tuple[Action, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "actions", tuple(self.actions))
        check_signal("Watch.signal", self.signal)
        good = isinstance(self.detector, Detector)
        require(good, "Watch.detector", self.detector, "must be a Detector, such as KolmogorovSmirnov()")
        good = all(isinstance(action, Action) for action in self.actions)
        require(good, "Watch.actions", self.actions, "must be actions, such as (RaiseRate(), Branch())")
