"""The common model in each of its forms, as a module and as the driver's vectors."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from raycollab.common.first_vectors import first_vectors
from raycollab.evaluation import Vectors
from raycollab.experiment import Plan
from raycollab.growth import Forms, tasks_of
from raycollab.params import FlatModel
from raycollab.runtime.session import build_model
from raycollab.spec import BUFFERS, PARAMS, Entry
from raycollab.task import Task


class CommonModel:
    """The model that agents train together; one that does not grow has one form, number 0.

    Vectors have the size of the last form. An earlier one is a part of it: what is not in use stays as it is.

    Args:
        plan: The experiment.
        device: Where modules are.
    Raises: ModelError if a form does not lie in the next one, or nothing says how a tensor comes about.
    """

    def __init__(self, plan: Plan, device: str):
        self._plan = plan
        self._device = device
        self._models: list[tuple[Task, FlatModel]] = []
        self.forms = Forms(tasks_of(plan.task, plan.growth), self._built, plan.run.seed)
        self.last = self.forms.last
        self.spec = self.forms.model(self.last).spec
        self._steps = [self.forms.step(form) for form in range(1, self.last + 1)]
        self._coverages = self.forms.coverages(self.spec)

    def _built(self, task: Task) -> FlatModel:
        plan = self._plan
        for known, model in self._models:
            if known is task:
                return model
        whole, run = task is plan.task, plan.run
        model = build_model(task, plan.exchange, run.seed, self._device, whole=whole, start=run.start)
        self._models.append((task, model))
        return model

    def first(self) -> Vectors:
        """The vectors that the first round brings: the initial values of the first form, in their places."""
        vectors = first_vectors(self._plan, self.forms.model(self.last))
        model = self.forms.model(0)
        return self._put(vectors, 0, model.read(), model.read_buffers()) if self.last else vectors

    def module(self, form: int, vectors: Vectors) -> nn.Module:
        """A form with these vectors; it is the same module each time."""
        model = self.forms.model(form)
        model.load_private(self._private(form))
        model.load(*self._taken(form, vectors))
        return model.module

    def grown(self, form: int, vectors: Vectors) -> Vectors:
        """The vectors of a form as those of the next."""
        before, after = self.forms.model(form).spec, self.forms.model(form + 1).spec
        params, buffers = self._taken(form, vectors)
        values = {**_tensors(params, before.params), **_tensors(buffers, before.buffers)}
        grown = self._steps[form].grow(values, [entry.name for entry in (*after.params, *after.buffers)])
        return self._put(vectors, form + 1, _vector(grown, after.params), _vector(grown, after.buffers))

    def _private(self, form: int) -> dict[str, Tensor] | None:
        """What is not exchanged, as a form begins with it: that of the first form, grown as the rest is."""
        first, model = self.forms.model(0), self.forms.model(form)
        if not form or not model.private():
            return None
        for each in (first, model):
            each.load_private(None)
        initial = model.private()
        return {**initial, **self.forms.moved(first.private(), 0, form, initial)}

    def _taken(self, form: int, vectors: Vectors) -> tuple[Tensor, Tensor]:
        used = self._coverages[form].take({name: vectors[name] for name in (PARAMS, BUFFERS)})
        return used[PARAMS], used[BUFFERS]

    def _put(self, vectors: Vectors, form: int, params: Tensor, buffers: Tensor) -> Vectors:
        """The vectors with those of a form in their places, in new memory."""
        covered = self._coverages[form]
        put = {PARAMS: covered.params.put(vectors[PARAMS], params.cpu())}
        return {**vectors, **put, BUFFERS: covered.buffers.put(vectors[BUFFERS], buffers.cpu())}


def _tensors(vector: Tensor, entries: Iterable[Entry]) -> dict[str, Tensor]:
    return {entry.name: vector[entry.offset : entry.stop].view(entry.shape) for entry in entries}


def _vector(tensors: dict[str, Tensor], entries: Iterable[Entry]) -> Tensor:
    return torch.cat([torch.zeros(0), *(tensors[entry.name].reshape(-1) for entry in entries)])
