"""Models that grow while they are trained: wider, deeper, with more classes, and the same function at every step."""

from raycollab.growth.forms import Forms, tasks_of
from raycollab.growth.growth import Growth
from raycollab.growth.renewal import Renewal
from raycollab.growth.step import Step
from raycollab.growth.waiting import Waiting
from raycollab.growth.when import Asked, AtRounds, NewClasses, News, Stalled, When

__all__ = [
    "Asked",
    "AtRounds",
    "Forms",
    "Growth",
    "NewClasses",
    "News",
    "Renewal",
    "Stalled",
    "Step",
    "Waiting",
    "When",
    "tasks_of",
]
