"""Prototypical networks: a class is where the mean of its examples is."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.errors import ModelError
from raycollab.meta.base import MetaLearner
from raycollab.meta.functional import Functional, Parameters
from raycollab.types import Batch

_NEVER = -1e4  # the logit of a class without examples


@dataclass(frozen=True, kw_only=True)
class ProtoNet(MetaLearner):
    """Adapts by one pass forward: the last linear layer gets the prototypes of the support's classes.

    The squared distance to the mean c of a class's features f is linear in f but for what all classes share: the row of
    the class is 2 c, and its bias -|c|^2. So the adapted model is the net itself, and predicts as ever. The head must
    have room for all classes; those without examples are never predicted. What is trained is all before it.

    Raises: ModelError if the net does not end with a linear layer with a bias, or its task knows no labels.
    Source: Snell et al., NeurIPS 2017, arXiv 1703.05175, equations 1, 2 and 8.
    """

    formula = "p(k | x) = softmax over k of -|f(x) - c_k|^2;  c_k = mean of f over the support of class k"

    def adapt(
        self, model: Functional, params: Parameters, support: Batch, *, differentiable: bool = False
    ) -> dict[str, Tensor]:
        """Compute the prototypes."""
        weight, bias = _head(model.module)
        label = getattr(model.task, "label", None)
        if not isinstance(label, str) or label not in support:
            raise ModelError(f"ProtoNet: {type(model.task).__name__} has no column of classes; give a Classification")
        with torch.set_grad_enabled(differentiable or torch.is_grad_enabled()):
            features = model.features(params, support)  # [n, f]
        classes = torch.arange(params[weight].shape[0], device=features.device)
        member = (support[label].unsqueeze(0) == classes.unsqueeze(1)).to(features.dtype)  # [c, n]
        counts = member.sum(1)
        prototypes = member @ features / counts.clamp(min=1).unsqueeze(1)  # [c, f]
        offsets = torch.where(counts > 0, -prototypes.square().sum(1), _NEVER)
        adapted = {**params, weight: 2 * prototypes, bias: offsets}
        return adapted if differentiable else {name: tensor.detach() for name, tensor in adapted.items()}


def _head(module: nn.Module) -> tuple[str, str]:
    """Names of weight and bias of the last linear layer."""
    found = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    if not found or found[-1][1].bias is None:
        raise ModelError(
            f"ProtoNet: {type(module).__name__} must end with an nn.Linear with a bias, which the prototypes go into"
        )
    prefix = f"{found[-1][0]}." if found[-1][0] else ""
    return f"{prefix}weight", f"{prefix}bias"
