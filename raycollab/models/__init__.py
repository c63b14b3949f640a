"""Models as values: recipes that every agent builds its own module from."""

from raycollab.models.adapted import IA3, Adapted, Adapter, LoRA, without_adapters
from raycollab.models.base import Model
from raycollab.models.cast import Cast
from raycollab.models.checkpointed import Checkpointed
from raycollab.models.cnn import CNN
from raycollab.models.compiled import Compiled
from raycollab.models.consensus import CONSENSUS, WithConsensus
from raycollab.models.context import CONTEXT, WithContext
from raycollab.models.custom import Module
from raycollab.models.early_exits import EarlyExits, WithExits
from raycollab.models.frozen import Frozen
from raycollab.models.gpt import GPT
from raycollab.models.headed import Headed
from raycollab.models.log_mel import LogMel
from raycollab.models.merging import merged_adapters, save_adapters
from raycollab.models.mlp import MLP
from raycollab.models.multimodal import Multimodal, MultimodalNet
from raycollab.models.narrowed import Narrowed
from raycollab.models.padded import Padded
from raycollab.models.pretrained import Pretrained
from raycollab.models.rates import RATE, WithRates, rate_name
from raycollab.models.resnet import ResNet
from raycollab.models.sequential import Sequential
from raycollab.models.series import Series
from raycollab.models.submodel import SubModel, UpTo, Width
from raycollab.models.tabular import Tabular
from raycollab.models.text_cnn import TextCNN
from raycollab.models.torchvision import Torchvision
from raycollab.models.transformers import Transformers
from raycollab.models.two_towers import TwoTowers
from raycollab.models.vit import MaskedAutoencoder, ViT
from raycollab.models.without import Without
from raycollab.models.wrapper import Wrapper

__all__ = [
    "CNN",
    "CONSENSUS",
    "CONTEXT",
    "GPT",
    "IA3",
    "MLP",
    "RATE",
    "Adapted",
    "Adapter",
    "Cast",
    "Checkpointed",
    "Compiled",
    "EarlyExits",
    "Frozen",
    "Headed",
    "LoRA",
    "LogMel",
    "MaskedAutoencoder",
    "Model",
    "Module",
    "Multimodal",
    "MultimodalNet",
    "Narrowed",
    "Padded",
    "Pretrained",
    "ResNet",
    "Sequential",
    "Series",
    "SubModel",
    "Tabular",
    "TextCNN",
    "Torchvision",
    "Transformers",
    "TwoTowers",
    "UpTo",
    "ViT",
    "Width",
    "WithConsensus",
    "WithContext",
    "WithExits",
    "WithRates",
    "Without",
    "Wrapper",
    "merged_adapters",
    "rate_name",
    "save_adapters",
    "without_adapters",
]
