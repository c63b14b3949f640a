"""Rules for merging what agents learned: one rule a file."""

from raycollab.aggregation.adaptive_clip import AdaptiveClip
from raycollab.aggregation.agnostic import AgnosticFL
from raycollab.aggregation.base import OF_ROUND, Aggregator
from raycollab.aggregation.bucketing import Bucketing
from raycollab.aggregation.bulyan import Bulyan
from raycollab.aggregation.centered_clip import CenteredClip
from raycollab.aggregation.contributions import Contributions
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
from raycollab.aggregation.lora_product import LoRAProduct
from raycollab.aggregation.mean import Mean
from raycollab.aggregation.median import Median
from raycollab.aggregation.norm_bound import NormBound
from raycollab.aggregation.objective import Objective
from raycollab.aggregation.pairwise import Node, PairwiseSum, root, total_of
from raycollab.aggregation.partial import Partial, add_up
from raycollab.aggregation.per_cluster import CLUSTER, PerCluster, cluster_vector
from raycollab.aggregation.per_group import PerGroup
from raycollab.aggregation.private_adaptive_mean import PrivateAdaptiveMean
from raycollab.aggregation.private_mean import PrivateMean
from raycollab.aggregation.product import Product
from raycollab.aggregation.protocol import AgentSide, DriverSide, Identity, MadeIn, Opened, Talk, made_in
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
    "CLUSTER",
    "OF_ROUND",
    "AdaptiveClip",
    "AgentSide",
    "Aggregator",
    "AgnosticFL",
    "Bucketing",
    "Bulyan",
    "CenteredClip",
    "Contributions",
    "Dare",
    "DriverSide",
    "ExactSum",
    "FedAsync",
    "FedBuff",
    "FedDyn",
    "FedMGDA",
    "FedNova",
    "FisherMean",
    "GeometricMedian",
    "Identity",
    "Krum",
    "LearnedWeights",
    "LoRAProduct",
    "MadeIn",
    "Mean",
    "Median",
    "Node",
    "NormBound",
    "Objective",
    "Opened",
    "PairwiseSum",
    "Partial",
    "PerCluster",
    "PerGroup",
    "PrivateAdaptiveMean",
    "PrivateMean",
    "Product",
    "QFedAvg",
    "RowRule",
    "Rows",
    "Slerp",
    "Stack",
    "Sum",
    "Talk",
    "TaskArithmetic",
    "Ties",
    "Tilted",
    "TrimmedMean",
    "WeightedSum",
    "Wrapper",
    "add_up",
    "cluster_vector",
    "made_in",
    "root",
    "sum_of",
    "terms_of",
    "total_of",
]
