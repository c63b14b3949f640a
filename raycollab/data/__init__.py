"""Data: sources that say where rows are, partitions that say whose they are, shards that agents train on."""

from raycollab.data.arrays import Arrays
from raycollab.data.base import Holdout, Part, Shard, Source, read_columns, stratified_split
from raycollab.data.columns import LABEL, Columns
from raycollab.data.digits import Digits
from raycollab.data.label_mix import LabelMix
from raycollab.data.parquet import Parquet
from raycollab.data.partition import IID, ByColumn, Dirichlet, DirichletSizes, Explicit, LabelShards, Partition
from raycollab.data.text import ParquetText, Text, TextSource
from raycollab.data.tokenizers import Bytes, Characters, PretrainedTokenizer, Tokenizer

__all__ = [
    "IID",
    "LABEL",
    "Arrays",
    "ByColumn",
    "Bytes",
    "Characters",
    "Columns",
    "Digits",
    "Dirichlet",
    "DirichletSizes",
    "Explicit",
    "Holdout",
    "LabelMix",
    "LabelShards",
    "Parquet",
    "ParquetText",
    "Part",
    "Partition",
    "PretrainedTokenizer",
    "Shard",
    "Source",
    "Text",
    "TextSource",
    "Tokenizer",
    "read_columns",
    "stratified_split",
]
