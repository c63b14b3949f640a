"""Models as values: recipes that every agent builds its own module from."""

from raycollab.models.base import Model
from raycollab.models.cnn import CNN
from raycollab.models.consensus import CONSENSUS, WithConsensus
from raycollab.models.custom import Module
from raycollab.models.mlp import MLP

__all__ = ["CNN", "CONSENSUS", "MLP", "Model", "Module", "WithConsensus"]
