"""The same learner with another rate, number of steps or pull: adapting is another value, never a change of one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from raycollab.errors import ConfigError
from raycollab.learners import Learner, LocalLearner, Prox
from raycollab.schedules import Schedule


@dataclass(frozen=True)
class Times(Schedule):
    """Another schedule's factor times a number."""

    schedule: Schedule
    number: float

    @property
    def over(self) -> str:  # type: ignore[override]
        """As the schedule counts."""
        return self.schedule.over

    def factor(self, at: int) -> float:
        """The product."""
        return self.number * self.schedule.factor(at)


def tuned(learner: Learner, *, rate: float = 1.0, steps: int | None = None) -> Learner:
    """A learner, however it is wrapped, whose steps are taken at `rate` times its rate, and are so many if given."""

    def change(local: LocalLearner) -> LocalLearner:
        changes: dict[str, Any] = {} if rate == 1.0 else {"schedule": Times(local.schedule, rate)}
        if steps is not None:
            changes["steps"] = steps
        return replace(local, **changes)

    return _changed(learner, change)


def local_of(learner: Learner) -> LocalLearner | None:
    """What takes the steps inside a learner, however it is wrapped; None if that is no LocalLearner."""
    while not isinstance(learner, LocalLearner):
        inner = getattr(learner, "learner", None)
        if not isinstance(inner, Learner):
            return None
        learner = inner
    return learner


def check_local(name: str, learner: Learner) -> None:
    """Raise ConfigError for a learner that takes no local steps."""
    if local_of(learner) is None:
        raise ConfigError(
            f"{name}: {type(learner).__name__} takes no local steps at a rate; give SGD, Optimizer or a learner around "
            f"one of them"
        )


def pulled(learner: Learner, mu: float) -> Learner:
    """A local learner, pulled to where the round began; itself where mu is 0."""
    return Prox(cast(LocalLearner, learner), mu) if mu else learner


def _changed(learner: Learner, change: Callable[[LocalLearner], LocalLearner]) -> Learner:
    if isinstance(learner, LocalLearner):
        return change(learner)
    return replace(learner, learner=_changed(learner.learner, change))  # type: ignore[attr-defined, type-var]
