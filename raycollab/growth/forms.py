"""The forms of a model that grows: what is learned in each, and how one becomes another."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from raycollab.growth.growth import Growth
from raycollab.growth.step import Step
from raycollab.models.base import Model
from raycollab.models.padded import Padded
from raycollab.params import FlatModel
from raycollab.rng import derive_seed
from raycollab.spec import Coverage, ParamSpec
from raycollab.task import Task


def tasks_of(task: Task, growth: Growth | None) -> tuple[Task, ...]:
    """The task in each form, the smallest first: with another net; the last is the task itself."""
    return (*(task.with_net(partial(_as_form, task, net)) for net in growth.forms), task) if growth else (task,)


def _as_form(task: Task, net: Any, last: Model) -> Model:
    """A net in the place of the last one, with as many outputs."""
    classes, outputs = getattr(task, "num_classes", 0), getattr(net, "num_outputs", math.inf)
    return Padded(net, classes) if outputs < classes else net


class Forms:
    """The forms of one task, by number; of a task that does not grow there is one.

    Args:
        tasks: The task in each, from `tasks_of`.
        model_of: Gives the model of one.
        seed: The run's.
        tells_labels: Whether its agents say how many classes they need outputs for.
    """

    def __init__(
        self, tasks: Sequence[Task], model_of: Callable[[Task], FlatModel], seed: int, tells_labels: bool = False
    ):
        self.tells_labels = tells_labels
        self._tasks = tasks
        self._model_of = model_of
        self._seed = seed

    @property
    def last(self) -> int:
        """The number of the last one."""
        return len(self._tasks) - 1

    def task(self, form: int) -> Task:
        """The task in a form."""
        return self._tasks[form]

    def model(self, form: int) -> FlatModel:
        """The model in a form: scratch space."""
        return self._model_of(self._tasks[form])

    def outputs(self, form: int) -> int | None:
        """Classes that a form has outputs for; None if it has one for each."""
        net = getattr(self._tasks[form], "net", None)
        return getattr(net.net, "num_outputs", None) if isinstance(net, Padded) else None

    def coverages(self, spec: ParamSpec) -> list[Coverage]:
        """Which part of the driver's vectors each form is.

        Raises: ModelError for one that is no part of them.
        """
        return [spec.coverage(self.model(form).spec) for form in range(len(self._tasks))]

    def step(self, form: int) -> Step:
        """The step to a form from the one before it, the same in every process.

        Raises: ModelError if the one is not larger, or nothing says how it comes about.
        """
        small, large = self.model(form - 1).module, self.model(form).module
        return Step(small, large, derive_seed(self._seed, "growth", form))

    def moved(self, values: Mapping[str, Tensor], was: int, now: int, names: Iterable[str]) -> dict[str, Tensor]:
        """Tensors of one form as those of another, by their names.

        Args:
            values: Of the one.
            was: Its number.
            now: The number of the other.
            names: Which are wanted.
        """
        names, moved = list(names), dict(values)
        for form in range(was, now):
            between = names if form + 1 == now else [*self.model(form + 1).whole()]
            moved = self.step(form + 1).grow(moved, between)
        for form in range(was, now, -1):
            moved = self.step(form).shrink(moved)
        return {name: moved[name] for name in names if name in moved}
