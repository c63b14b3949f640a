"""What an agent remembers of one form of the model, in another one."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from raycollab.growth.forms import Forms
from raycollab.params import FlatModel
from raycollab.types import State


class Renewal:
    """Makes what was remembered of one form fit another.

    Tensors under the names of the model's, such as a private head or a model of the agent's own, go with the model.
    Whatever else has the size of the form before, such as momentum, begins anew; the rest stays, such as kept examples.

    Args:
        forms: The forms.
        was: The one.
        now: The other.
    """

    def __init__(self, forms: Forms, was: int, now: int):
        self._forms, self._was, self._now = forms, was, now
        before, after = _tensors(forms.model(was)), _tensors(forms.model(now))
        self._before, self._after = before, list(after)
        self._lengths = _lengths(forms.model(was)) - _lengths(forms.model(now))
        shapes = {tensor.shape for name, tensor in before.items() if tensor.ndim > 1}
        self._shapes = shapes - {tensor.shape for tensor in after.values()}

    def all(self, old: State, first: State, model: FlatModel) -> dict[str, Any]:
        """All that an agent remembers.

        Args:
            old: Of the one form.
            first: What it would begin with in the other.
            model: The other form; its private part is overwritten.
        """
        renewed = {name: self.state(old[name], first[name]) for name in ("learner", "pipeline")}
        private = old["private"]
        if private is not None:
            model.load_private(None)
            initial = model.private()
            private = {**initial, **self._forms.moved(private, self._was, self._now, initial)}
        return {"private": private, **renewed}

    def state(self, old: State, fresh: State) -> State:
        """The state of a learner or of transforms.

        Args:
            old: Of the one form.
            fresh: As it begins in the other.
        """
        if isinstance(old, Mapping) and self._is_model(old):
            names = self._after if len(old) == len(self._before) else list(old)
            return self._forms.moved(old, self._was, self._now, names)
        if not self._is_stale(old):
            return old
        if isinstance(old, Mapping) and isinstance(fresh, Mapping) and set(old) == set(fresh):
            return {name: self.state(value, fresh[name]) for name, value in old.items()}
        if isinstance(old, list) and isinstance(fresh, list) and len(old) == len(fresh):
            return [self.state(*each) for each in zip(old, fresh, strict=True)]
        return fresh

    def _is_model(self, tree: Mapping[str, Any]) -> bool:
        """Whether these are tensors of the model, by name."""
        return bool(tree) and all(
            isinstance(value, Tensor) and name in self._before and value.shape == self._before[name].shape
            for name, value in tree.items()
        )

    def _is_stale(self, tree: State) -> bool:
        """Whether something in it has the size of the form before."""
        if isinstance(tree, Mapping):
            return self._is_model(tree) or any(map(self._is_stale, tree.values()))
        if isinstance(tree, list | tuple):
            return any(map(self._is_stale, tree))
        if not isinstance(tree, Tensor):
            return False
        return tree.numel() in self._lengths if tree.ndim == 1 else tree.shape in self._shapes


def _tensors(model: FlatModel) -> dict[str, Tensor]:
    return {**model.learned(), **model.saved_buffers()}


def _lengths(model: FlatModel) -> set[int]:
    """Of vectors that a state may hold."""
    return {model.spec.num_params, model.spec.num_buffers, *(flat.numel() for flat in model.flats)}
