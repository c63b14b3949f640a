"""Steps that leave some parameters where they are."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from raycollab.errors import ModelError
from raycollab.learners.local import Step
from raycollab.params import FlatModel
from raycollab.task import Problem


@contextmanager
def frozen(model: FlatModel, names: Collection[str]) -> Iterator[None]:
    """No gradients for these parameters, and no work for them either."""
    held = [parameter for name, parameter in model.module.named_parameters() if name in names]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def holding(model: FlatModel, names: Collection[str], step: Step) -> Step:
    """A step that puts these parameters back: weight decay and momentum move also what has no gradient."""
    held = [(tensor, tensor.clone()) for name, tensor in model.learned().items() if name in names]

    def stepping(model: FlatModel, factor: float) -> None:
        step(model, factor)
        for tensor, before in held:
            tensor.copy_(before)

    return stepping


def head_of(problem: Problem, rule: str) -> tuple[str, ...]:
    """Names of the parameters that are not exchanged.

    Raises: ModelError if there are none.
    """
    names = problem.model.private_params
    if not names:
        raise ModelError(
            f"agent {problem.agent!r}: {rule} takes as head what is not exchanged, and all is: set "
            f"exchange=Exchange(exclude=('head.*',)) with the names of the head's parameters"
        )
    return names


def body_of(model: FlatModel) -> tuple[str, ...]:
    """Names of the parameters that are exchanged."""
    return tuple(entry.name for entry in model.spec.params)
