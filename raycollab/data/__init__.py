"""Data: sources that say where rows are, partitions that say whose they are, shards that agents train on."""

from raycollab.data.arrays import Arrays
from raycollab.data.base import Holdout, Opened, Part, Shard, Source, read_columns, stratified_split
from raycollab.data.columns import LABEL, WEIGHT, Columns
from raycollab.data.csv import CSV
from raycollab.data.digits import Digits
from raycollab.data.distortions import Blur, Distorted, Distortion, Noise, Rescale, Rotate
from raycollab.data.hugging_face import HuggingFace
from raycollab.data.image_folder import ImageFolder
from raycollab.data.ipc import Arrow
from raycollab.data.json_lines import JSONLines
from raycollab.data.label_mix import LabelMix
from raycollab.data.parquet import Parquet
from raycollab.data.partition import IID, ByColumn, Dirichlet, DirichletSizes, Explicit, LabelShards, Partition
from raycollab.data.streamed import Streamed, StreamedShard
from raycollab.data.table import Table, table_within
from raycollab.data.text import ParquetText, Text, TextSource
from raycollab.data.tokenizers import Bytes, Characters, PretrainedTokenizer, Tokenizer
from raycollab.data.torch_dataset import TorchDataset, Torchvision

__all__ = [
    "CSV",
    "IID",
    "LABEL",
    "WEIGHT",
    "Arrays",
    "Arrow",
    "Blur",
    "ByColumn",
    "Bytes",
    "Characters",
    "Columns",
    "Digits",
    "Dirichlet",
    "DirichletSizes",
    "Distorted",
    "Distortion",
    "Explicit",
    "Holdout",
    "HuggingFace",
    "ImageFolder",
    "JSONLines",
    "LabelMix",
    "LabelShards",
    "Noise",
    "Opened",
    "Parquet",
    "ParquetText",
    "Part",
    "Partition",
    "PretrainedTokenizer",
    "Rescale",
    "Rotate",
    "Shard",
    "Source",
    "Streamed",
    "StreamedShard",
    "Table",
    "Text",
    "TextSource",
    "Tokenizer",
    "TorchDataset",
    "Torchvision",
    "read_columns",
    "stratified_split",
    "table_within",
]
