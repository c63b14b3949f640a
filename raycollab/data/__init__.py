"""Data: sources that say where rows are, partitions that say whose they are, shards that agents train on."""

from raycollab.data.arrays import Arrays
from raycollab.data.base import Holdout, Part, Shard, Source, read_columns, stratified_split
from raycollab.data.columns import LABEL, Columns
from raycollab.data.digits import Digits
from raycollab.data.parquet import Parquet
from raycollab.data.partition import IID, ByColumn, Dirichlet, DirichletSizes, Explicit, LabelShards, Partition
from raycollab.data.summary import ShardSummary, label_coverage

__all__ = [
    "IID",
    "LABEL",
    "Arrays",
    "ByColumn",
    "Columns",
    "Digits",
    "Dirichlet",
    "DirichletSizes",
    "Explicit",
    "Holdout",
    "LabelShards",
    "Parquet",
    "Part",
    "Partition",
    "Shard",
    "ShardSummary",
    "Source",
    "label_coverage",
    "read_columns",
    "stratified_split",
]
