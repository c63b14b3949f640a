"""Who takes part in a round: one rule a file."""

from raycollab.selection.base import Candidate, Selection
from raycollab.selection.by_weight import ByWeight
from raycollab.selection.loss_aware import LossAware
from raycollab.selection.power_of_choice import PowerOfChoice
from raycollab.selection.round_robin import RoundRobin
from raycollab.selection.uniform import Uniform

__all__ = ["ByWeight", "Candidate", "LossAware", "PowerOfChoice", "RoundRobin", "Selection", "Uniform"]
