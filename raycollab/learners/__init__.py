"""How agents learn: one rule a file."""

from raycollab.learners.base import JointLearner, Learner
from raycollab.learners.distill import Distill
from raycollab.learners.dpsgd import DPSGD
from raycollab.learners.dyn import Dyn
from raycollab.learners.fedsgd import FedSGD
from raycollab.learners.fisher import Fisher
from raycollab.learners.group_rates import GroupRates
from raycollab.learners.local import REPORTED, LocalLearner
from raycollab.learners.modality_counts import ModalityCounts, count_of
from raycollab.learners.moon import Moon
from raycollab.learners.optimizer import Optimizer
from raycollab.learners.prox import Prox
from raycollab.learners.scaffold import Scaffold
from raycollab.learners.sgd import SGD
from raycollab.learners.start_loss import StartLoss
from raycollab.learners.student import Student

__all__ = [
    "DPSGD",
    "REPORTED",
    "SGD",
    "Distill",
    "Dyn",
    "FedSGD",
    "Fisher",
    "GroupRates",
    "JointLearner",
    "Learner",
    "LocalLearner",
    "ModalityCounts",
    "Moon",
    "Optimizer",
    "Prox",
    "Scaffold",
    "StartLoss",
    "Student",
    "count_of",
]
