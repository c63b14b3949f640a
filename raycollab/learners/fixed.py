"""A model as it was: a copy under other vectors, to compare with."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from raycollab.params import FlatModel
from raycollab.spec import BUFFERS, PARAMS, ParamSpec


def fixed_copy(model: FlatModel, vectors: Mapping[str, Tensor]) -> nn.Module:
    """The module under other vectors, in evaluation mode; whatever is private it shares with the model."""
    named = _named(model.spec, vectors)
    tensors = {**dict(model.module.named_parameters()), **dict(model.module.named_buffers())}
    instead = {id(tensor): named.get(name, tensor) for name, tensor in tensors.items()}
    return copy.deepcopy(model.module, instead).eval()


def _named(spec: ParamSpec, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters and buffers by name, as views of a model's vectors where its dtype is theirs."""
    places = [(entry, vectors[PARAMS]) for entry in spec.params] + [(entry, vectors[BUFFERS]) for entry in spec.buffers]
    return {
        entry.name: vector[entry.offset : entry.stop].view(entry.shape).to(getattr(torch, entry.dtype))
        for entry, vector in places
    }
