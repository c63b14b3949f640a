"""How agents learn: one rule a file."""

from raycollab.learners.base import Learner
from raycollab.learners.optimizer import Optimizer
from raycollab.learners.sgd import SGD

__all__ = ["SGD", "Learner", "Optimizer"]
