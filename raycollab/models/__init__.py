"""Models as values: recipes that every agent builds its own module from."""

from raycollab.models.base import Model
from raycollab.models.cnn import CNN
from raycollab.models.consensus import CONSENSUS, WithConsensus
from raycollab.models.custom import Module
from raycollab.models.gpt import GPT
from raycollab.models.mlp import MLP
from raycollab.models.transformers import Transformers

__all__ = ["CNN", "CONSENSUS", "GPT", "MLP", "Model", "Module", "Transformers", "WithConsensus"]
