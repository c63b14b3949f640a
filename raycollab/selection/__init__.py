"""Who takes part in a round: one rule a file."""

from raycollab.selection.base import Candidate, Selection
from raycollab.selection.uniform import Uniform

__all__ = ["Candidate", "Selection", "Uniform"]
