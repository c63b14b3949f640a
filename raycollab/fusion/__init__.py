"""Ways of fusing modalities, of which any subset may be there."""

from raycollab.fusion.base import Fused, Fusion, Given
from raycollab.fusion.blending import blend
from raycollab.fusion.bottleneck import Bottleneck
from raycollab.fusion.concatenation import Concatenation
from raycollab.fusion.cross_attention import CrossAttention
from raycollab.fusion.film import FiLM
from raycollab.fusion.gated import Gated
from raycollab.fusion.late_logits import LateLogits
from raycollab.fusion.low_rank import LowRank
from raycollab.fusion.mixture_of_experts import MixtureOfExperts
from raycollab.fusion.tensor_product import TensorProduct

__all__ = [
    "Bottleneck",
    "Concatenation",
    "CrossAttention",
    "FiLM",
    "Fused",
    "Fusion",
    "Gated",
    "Given",
    "LateLogits",
    "LowRank",
    "MixtureOfExperts",
    "TensorProduct",
    "blend",
]
