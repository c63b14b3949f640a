"""A model as a value: the recipe that every agent builds its own module from."""

from abc import ABC, abstractmethod

from torch import nn

from raycollab.settings import Settings


class Model(Settings, ABC):
    """A frozen recipe of a module: it travels, compares, prints and is written into the run folder."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Make the module; its initial weights come from torch's seed."""
