"""opacus, imported by what computes with it: that takes seconds."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from raycollab.errors import ConfigError


def library(name: str) -> Any:
    """A module of opacus.

    Raises: ConfigError if it is not installed.
    """
    if find_spec("opacus") is None:
        raise ConfigError(
            "privacy is counted by opacus, which is not installed: pip install 'raycollab[trust]', on every node"
        )
    return import_module(name)
