"""Data: sources that say where rows are, partitions that say whose they are, shards that agents train on."""

from raycollab.data.arrays import Arrays
from raycollab.data.base import Holdout, Part, Shard, Source, read_columns, stratified_split
from raycollab.data.columns import LABEL, Columns
from raycollab.data.digits import Digits
from raycollab.data.label_mix import LabelMix
from raycollab.data.parquet import Parquet
from raycollab.data.partition import IID, ByColumn, Dirichlet, DirichletSizes, Explicit, LabelShards, Partition

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
    "LabelMix",
    "LabelShards",
    "Parquet",
    "Part",
    "Partition",
    "Shard",
    "Source",
    "read_columns",
    "stratified_split",
]
