"""The common model: what the first round brings, its forms, and when it grows."""

from raycollab.common.first_vectors import first_vectors
from raycollab.common.growing import Growing
from raycollab.common.model import CommonModel

__all__ = ["CommonModel", "Growing", "first_vectors"]
