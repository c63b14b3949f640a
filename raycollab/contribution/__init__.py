"""What each of several players is worth to all of them together."""

from raycollab.contribution.exact import MOST_EXACT, leave_one_out, shapley
from raycollab.contribution.gtg import gtg_shapley
from raycollab.contribution.utility import Coalition, Utility

__all__ = ["MOST_EXACT", "Coalition", "Utility", "gtg_shapley", "leave_one_out", "shapley"]
