"""Models of the agents' own beside the common one: one algorithm a file."""

from raycollab.personal.apfl import APFL
from raycollab.personal.base import PersonalLearner
from raycollab.personal.ditto import Ditto
from raycollab.personal.fed_bn import fed_bn
from raycollab.personal.fed_per import fed_per
from raycollab.personal.fedala import FedALA
from raycollab.personal.fedbabu import FedBABU
from raycollab.personal.fedrep import FedRep
from raycollab.personal.fine_tune import FineTune
from raycollab.personal.ifca import IFCA
from raycollab.personal.pfedme import PFedMe

__all__ = [
    "APFL",
    "IFCA",
    "Ditto",
    "FedALA",
    "FedBABU",
    "FedRep",
    "FineTune",
    "PFedMe",
    "PersonalLearner",
    "fed_bn",
    "fed_per",
]
