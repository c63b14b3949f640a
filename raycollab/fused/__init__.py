"""SGD steps of several agents at once, in layers that learn where their gradients are made."""

from raycollab.fused.descent import Descent
from raycollab.fused.layers import Layer
from raycollab.fused.stacked import Stacked, layers_of

__all__ = ["Descent", "Layer", "Stacked", "layers_of"]
