"""What a model makes of its inputs before its last layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from raycollab.errors import ModelError


@contextmanager
def head_inputs(module: nn.Module) -> Iterator[Callable[[], Tensor]]:
    """Watch the last nn.Linear of a module; the function gives what went into it last, [b, f].

    Raises: ModelError if the module has no nn.Linear, or none has run.
    """
    name = type(module).__name__
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ModelError(f"{name} has no nn.Linear, so nothing says what its features are: override Task.features")
    seen: list[Tensor] = []

    def inputs() -> Tensor:
        if not seen:
            raise ModelError(f"the last nn.Linear of {name} did not run in its forward pass: override Task.features")
        return seen[-1].flatten(1)

    handle = layers[-1].register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    try:
        yield inputs
    finally:
        handle.remove()
