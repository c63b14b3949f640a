"""Steps that change a delta: one a file."""

from raycollab.transforms.adaptive import FedAdagrad, FedAdam, FedYogi
from raycollab.transforms.base import Transform
from raycollab.transforms.clip import ClipNorm
from raycollab.transforms.momentum import Momentum
from raycollab.transforms.noise import GaussianNoise
from raycollab.transforms.noise_share import NoiseShare
from raycollab.transforms.prune import Prune
from raycollab.transforms.random_k import RandomK
from raycollab.transforms.scale import Scale
from raycollab.transforms.server_optimizer import ServerOptimizer
from raycollab.transforms.sign import Sign
from raycollab.transforms.top_k import TopK

__all__ = [
    "ClipNorm",
    "FedAdagrad",
    "FedAdam",
    "FedYogi",
    "GaussianNoise",
    "Momentum",
    "NoiseShare",
    "Prune",
    "RandomK",
    "Scale",
    "ServerOptimizer",
    "Sign",
    "TopK",
    "Transform",
]
