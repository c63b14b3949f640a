"""A task for each kind of data."""

from raycollab.tasks.affine import RandomAffine
from raycollab.tasks.audio import AudioClassification
from raycollab.tasks.augmentation import (
    Augmentation,
    ColorJitter,
    Cutout,
    GaussianBlur,
    HorizontalFlip,
    RandomCrop,
    ResizedCrop,
)
from raycollab.tasks.classification import Classification, ImageClassification
from raycollab.tasks.contrastive import Contrastive
from raycollab.tasks.detection import ObjectDetection, padded
from raycollab.tasks.early_exiting import EarlyExiting
from raycollab.tasks.language import CausalLM
from raycollab.tasks.masked_autoencoding import MaskedAutoencoding
from raycollab.tasks.masked_lm import MaskedLM
from raycollab.tasks.multi_label import MultiLabel
from raycollab.tasks.multimodal import Multimodal
from raycollab.tasks.ordered_dropout import OrderedDropout
from raycollab.tasks.regression import Regression
from raycollab.tasks.sequence_to_sequence import SequenceToSequence
from raycollab.tasks.series import SeriesClassification, SeriesRegression
from raycollab.tasks.simclr import SimCLR
from raycollab.tasks.tabular import TabularClassification, TabularRegression
from raycollab.tasks.text_classification import TextClassification
from raycollab.tasks.token_classification import TokenClassification

__all__ = [
    "AudioClassification",
    "Augmentation",
    "CausalLM",
    "Classification",
    "ColorJitter",
    "Contrastive",
    "Cutout",
    "EarlyExiting",
    "GaussianBlur",
    "HorizontalFlip",
    "ImageClassification",
    "MaskedAutoencoding",
    "MaskedLM",
    "MultiLabel",
    "Multimodal",
    "ObjectDetection",
    "OrderedDropout",
    "RandomAffine",
    "RandomCrop",
    "Regression",
    "ResizedCrop",
    "SequenceToSequence",
    "SeriesClassification",
    "SeriesRegression",
    "SimCLR",
    "TabularClassification",
    "TabularRegression",
    "TextClassification",
    "TokenClassification",
    "padded",
]
