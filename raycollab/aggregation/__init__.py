"""Rules for merging what agents learned: one rule a file."""

from raycollab.aggregation.adaptive_clip import AdaptiveClip
from raycollab.aggregation.agnostic import AgnosticFL
from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.bucketing import Bucketing
from raycollab.aggregation.bulyan import Bulyan
from raycollab.aggregation.centered_clip import CenteredClip
from raycollab.aggregation.dare import Dare
from raycollab.aggregation.exact_sum import ExactSum
from raycollab.aggregation.fedasync import FedAsync
from raycollab.aggregation.fedbuff import FedBuff
from raycollab.aggregation.feddyn import FedDyn
from raycollab.aggregation.fedmgda import FedMGDA
from raycollab.aggregation.fednova import FedNova
from raycollab.aggregation.fisher_mean import FisherMean
from raycollab.aggregation.geometric_median import GeometricMedian
from raycollab.aggregation.krum import Krum
from raycollab.aggregation.learned_weights import LearnedWeights
from raycollab.aggregation.mean import Mean
from raycollab.aggregation.median import Median
from raycollab.aggregation.norm_bound import NormBound
from raycollab.aggregation.objective import Objective
from raycollab.aggregation.pairwise import Node, PairwiseSum, root, total_of
from raycollab.aggregation.partial import Partial, add_up
from raycollab.aggregation.per_group import PerGroup
from raycollab.aggregation.product import Product
from raycollab.aggregation.q_fedavg import QFedAvg
from raycollab.aggregation.rows import RowRule, Rows
from raycollab.aggregation.slerp import Slerp
from raycollab.aggregation.stack import Stack
from raycollab.aggregation.task_arithmetic import TaskArithmetic
from raycollab.aggregation.ties import Ties
from raycollab.aggregation.tilted import Tilted
from raycollab.aggregation.trimmed_mean import TrimmedMean
from raycollab.aggregation.weighted_sum import Sum, WeightedSum, sum_of, terms_of
from raycollab.aggregation.wrapper import Wrapper

__all__ = [
    "AdaptiveClip",
    "Aggregator",
    "AgnosticFL",
    "Bucketing",
    "Bulyan",
    "CenteredClip",
    "Dare",
    "ExactSum",
    "FedAsync",
    "FedBuff",
    "FedDyn",
    "FedMGDA",
    "FedNova",
    "FisherMean",
    "GeometricMedian",
    "Krum",
    "LearnedWeights",
    "Mean",
    "Median",
    "Node",
    "NormBound",
    "Objective",
    "PairwiseSum",
    "Partial",
    "PerGroup",
    "Product",
    "QFedAvg",
    "RowRule",
    "Rows",
    "Slerp",
    "Stack",
    "Sum",
    "TaskArithmetic",
    "Ties",
    "Tilted",
    "TrimmedMean",
    "WeightedSum",
    "Wrapper",
    "add_up",
    "root",
    "sum_of",
    "terms_of",
    "total_of",
]
