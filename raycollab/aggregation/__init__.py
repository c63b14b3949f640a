"""Rules for merging what agents learned: one rule a file."""

from raycollab.aggregation.base import Aggregator, Partial, Stack, WeightedSum, add_up
from raycollab.aggregation.fednova import FedNova
from raycollab.aggregation.mean import Mean
from raycollab.aggregation.median import Median
from raycollab.aggregation.rows import RowRule, Rows

__all__ = ["Aggregator", "FedNova", "Mean", "Median", "Partial", "RowRule", "Rows", "Stack", "WeightedSum", "add_up"]
