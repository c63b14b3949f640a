"""How agents learn: one rule a file."""

from raycollab.learners.base import Learner
from raycollab.learners.local import REPORTED, LocalLearner
from raycollab.learners.optimizer import Optimizer
from raycollab.learners.prox import Prox
from raycollab.learners.scaffold import Scaffold
from raycollab.learners.sgd import SGD

__all__ = ["REPORTED", "SGD", "Learner", "LocalLearner", "Optimizer", "Prox", "Scaffold"]
