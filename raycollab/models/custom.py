"""A user's own nn.Module as a model."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn

from raycollab.errors import ConfigError, ModelError
from raycollab.models.base import Model


@dataclass(frozen=True)
class Module(Model):
    """Builds `target(**args)`.

    Args:
        target: A class or function, or where to import it from: "package.module:Name" or "package.module:Name.method".
        args: Its arguments: plain values, so that the run folder can hold them.
    Raises: ConfigError if the target cannot be imported; ModelError if it makes no nn.Module.
    """

    target: str | Callable[..., nn.Module]
    args: Mapping[str, Any] = field(default_factory=dict)

    imports: ClassVar[tuple[str, ...]] = ("target",)  # what raycollab.recipe must be told to trust

    def build(self) -> nn.Module:
        """Make the module."""
        make = _imported(self.target) if isinstance(self.target, str) else self.target
        module = make(**self.args)
        if not isinstance(module, nn.Module):
            raise ModelError(f"Module.target={self.target!r} made a {type(module).__name__}, not a torch.nn.Module")
        return module


def _imported(target: str) -> Callable[..., nn.Module]:
    place, _, name = target.partition(":")
    try:
        found: Any = importlib.import_module(place)
        for part in name.split("."):
            found = getattr(found, part)
            if inspect.ismodule(found):
                raise ImportError(f"{part!r} is a module")
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"Module.target={target!r}: {error}; write 'package.module:Name'") from error
    return found
