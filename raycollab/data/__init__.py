"""Data: sources that say where rows are, partitions that say whose they are, shards that agents train on."""

from raycollab.data.arrays import Arrays
from raycollab.data.base import Opened, Part, Shard, Source, read_columns
from raycollab.data.changing import Changing, Growing
from raycollab.data.columns import LABEL, WEIGHT, Columns
from raycollab.data.csv import CSV
from raycollab.data.current import Current
from raycollab.data.digits import Digits
from raycollab.data.distortions import Blur, Distorted, Distortion, Noise, Rescale, Rotate, Shift
from raycollab.data.holdout import Holdout
from raycollab.data.hugging_face import HuggingFace
from raycollab.data.image_folder import ImageFolder
from raycollab.data.ipc import Arrow
from raycollab.data.json_lines import JSONLines
from raycollab.data.label_mix import LabelMix
from raycollab.data.missing import Missing, presence_of
from raycollab.data.only import Only
from raycollab.data.origin import rows_named
from raycollab.data.paired import Paired
from raycollab.data.parquet import Parquet
from raycollab.data.partition import IID, ByColumn, Dirichlet, DirichletSizes, Explicit, LabelShards, Partition
from raycollab.data.principal import PrincipalComponents
from raycollab.data.reading import beside, table_within, without
from raycollab.data.relabelled import Relabelled
from raycollab.data.signal_noise import NoiseAtSNR
from raycollab.data.stratified import stratified_split
from raycollab.data.streamed import Streamed, StreamedShard
from raycollab.data.table import Table
from raycollab.data.text import ParquetText, Text, TextSource
from raycollab.data.tokenizers import Bytes, Characters, HashedWords, PretrainedTokenizer, Tokenizer
from raycollab.data.torch_dataset import TorchDataset, Torchvision
from raycollab.data.usable import usable

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
    "Changing",
    "Characters",
    "Columns",
    "Current",
    "Digits",
    "Dirichlet",
    "DirichletSizes",
    "Distorted",
    "Distortion",
    "Explicit",
    "Growing",
    "HashedWords",
    "Holdout",
    "HuggingFace",
    "ImageFolder",
    "JSONLines",
    "LabelMix",
    "LabelShards",
    "Missing",
    "Noise",
    "NoiseAtSNR",
    "Only",
    "Opened",
    "Paired",
    "Parquet",
    "ParquetText",
    "Part",
    "Partition",
    "PretrainedTokenizer",
    "PrincipalComponents",
    "Relabelled",
    "Rescale",
    "Rotate",
    "Shard",
    "Shift",
    "Source",
    "Streamed",
    "StreamedShard",
    "Table",
    "Text",
    "TextSource",
    "Tokenizer",
    "TorchDataset",
    "Torchvision",
    "beside",
    "presence_of",
    "read_columns",
    "rows_named",
    "stratified_split",
    "table_within",
    "usable",
    "without",
]
