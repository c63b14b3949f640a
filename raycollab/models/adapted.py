"""A pretrained net that stays as it is, and small adapters that learn in its layers."""

import re
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import find_spec
from math import prod
from typing import Any, ClassVar

from torch import nn

from raycollab.errors import ModelError
from raycollab.models.base import Model
from raycollab.models.frozen import fix_norms
from raycollab.models.wrapper import Wrapper
from raycollab.settings import Settings, require
from raycollab.spec import ADAPTER, BASE

_CONV1D = "Conv1D"  # GPT-2's linear layer in transformers
_OPAQUE = "NonDynamicallyQuantizableLinear"  # inside nn.MultiheadAttention, which takes its weight and never calls it
_MAX_NAMES = 30


@dataclass(frozen=True)
class Adapter(Settings, ABC):
    """Small trained weights inside layers of a net; peft puts them there.

    Args:
        targets: Shell patterns over names of layers, or the ends of such: "query" is every layer of that name.
        also: The same over names of parameters that are trained in full, such as those of a fresh head:
            ("classifier.*",).
    """

    targets: tuple[str, ...]
    also: tuple[str, ...] = field(default=(), kw_only=True)

    layers: ClassVar[tuple[type[nn.Module], ...]]  # that it fits, beside GPT-2's own

    def __post_init__(self) -> None:
        for name in ("targets", "also"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        where = f"{type(self).__name__}.targets"
        require(bool(self.targets), where, self.targets, "must name layers, such as ('query', 'value')")

    @abstractmethod
    def config(self, targets: str) -> Any:
        """Peft's settings for the layers whose names a regular expression matches."""

    def check_layers(self, layers: Mapping[str, nn.Module]) -> None:
        """Raise ModelError if it does not fit into one of these layers, by name."""
        del layers


@dataclass(frozen=True)
class LoRA(Adapter):
    """A product of two thin matrices added to a layer's weight: W + scale B A, where B begins at zero.

    Args:
        targets: Shell patterns over names of layers, or the ends of such: "query" is every layer of that name.
        rank: Columns of B, rows of A; agents may have other ranks, with Exchange(slices=True), up to the experiment's.
        alpha: The scale is alpha / rank; None takes 2 rank, so that the scale is 2 at every rank. Agents whose scale is
            another one are refused: to them the same factors would mean another layer.
        dropout: On what A is given, in training.
        dora: The direction of W + scale B A, times a magnitude of its own for each output (DoRA).
        stabilised: The scale is alpha / sqrt(rank), so that it does not shrink as the rank grows (rsLoRA).
    Source: Hu et al., ICLR 2022, arXiv 2106.09685; Liu et al., ICML 2024, arXiv 2402.09353 (DoRA); Kalajdzievski,
        2023, arXiv 2312.03732 (rsLoRA).
    """

    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0
    dora: bool = False
    stabilised: bool = False

    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.rank >= 1, "LoRA.rank", self.rank, "must be >= 1")
        require(self.alpha is None or self.alpha > 0, "LoRA.alpha", self.alpha, "must be > 0, or null for 2 rank")
        require(0 <= self.dropout < 1, "LoRA.dropout", self.dropout, "must be in [0, 1)")

    def check_layers(self, layers: Mapping[str, nn.Module]) -> None:
        """No product has a higher rank than the layer's weight has rows or columns."""
        weights: dict[str, Any] = {name: layer.weight for name, layer in layers.items()}
        shapes = {name: (len(weight), prod(weight.shape[1:])) for name, weight in weights.items()}
        name, shape = min(shapes.items(), key=lambda each: min(each[1]))
        if self.rank > min(shape):
            raise ModelError(
                f"LoRA.rank={self.rank}: the weight of layer {name!r} is {shape[0]} x {shape[1]}: take a rank of at "
                f"most {min(shape)}, or leave the layer out of targets={self.targets}"
            )

    def config(self, targets: str) -> Any:
        """A LoraConfig."""
        return peft().LoraConfig(
            r=self.rank,
            lora_alpha=2 * self.rank if self.alpha is None else self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            use_dora=self.dora,
            use_rslora=self.stabilised,
        )


@dataclass(frozen=True)
class IA3(Adapter):
    """A factor, from one, on each output of a layer.

    Source: Liu et al., NeurIPS 2022, arXiv 2205.05638.
    """

    layers = (nn.Linear, nn.Conv2d, nn.Conv3d)

    def config(self, targets: str) -> Any:
        """An IA3Config."""
        return peft().IA3Config(target_modules=targets, feedforward_modules=[])


@dataclass(frozen=True)
class Adapted(Wrapper):
    """Another model with adapters: they and what `also` names learn and travel; the rest stays as it was built.

    The base never leaves an agent and is in no checkpoint: every host builds it from `net`. The model that a run saves
    holds all weights. A layer's own parameters are called LAYER.base_layer.*, its adapters, which are float32 over any
    base, LAYER.*.raycollab_adapter.*; frozen BatchNorms normalize by their running statistics. `exchange: adapters`
    keeps what `also` names private to each agent. Layers with tied weights, such as GPT-2's embedding, and those with
    groups are left alone: nothing can be merged into them. Around another Adapted it puts adapters into further layers:
    some can be common, and others, which the exchange leaves out, a party's own.

    Args:
        net: The net itself, for example with pretrained weights.
        adapter: What learns.
    Raises: ModelError where it is built: peft is not installed, or a pattern matches nothing.
    """

    adapter: Adapter

    narrowed = Model.narrowed  # refused: the weights under adapters do not travel, and a narrower net would have others

    def __post_init__(self) -> None:
        super().__post_init__()
        accepted = "must be an adapter such as rc.models.LoRA(('query', 'value'), rank=8)"
        require(isinstance(self.adapter, Adapter), "Adapted.adapter", self.adapter, accepted)

    def changed(self, module: nn.Module) -> nn.Module:
        """Put the adapters in, and freeze the rest."""
        kind, adapter = type(self.adapter).__name__, self.adapter
        names = _found(
            f"{kind}.targets", adapter.targets, list(_layers(module, adapter.layers)), "layer that can be adapted"
        )
        own = list(dict(module.named_parameters()))
        also = _found(f"{kind}.also", adapter.also, own, "parameter")
        inside = next((name for name in also if name.rpartition(".")[0] in names), None)
        if inside is not None:
            raise ModelError(
                f"{kind}.also: {inside!r} is of a layer that targets={adapter.targets} adapts: name it once"
            )
        adapter.check_layers({name: module.get_submodule(name) for name in names})
        config = adapter.config("|".join(map(re.escape, names)))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")  # and set right by peft
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # of another Adapted inside
            peft().inject_adapter_in_model(config, module, adapter_name=ADAPTER)
        for name, parameter in module.named_parameters():
            if ADAPTER in name:
                parameter.data = parameter.data.float()
            elif name in also:
                parameter.requires_grad_(True)
        fix_norms(module)
        return module


def peft() -> Any:
    """The library, imported by whoever builds.

    Raises: ModelError if it is not installed.
    """
    if find_spec("peft") is None:
        raise ModelError("adapters need peft, which is not installed: pip install 'raycollab[adapters]', on every node")
    return import_module("peft")


def without_adapters(net: Any) -> Any:
    """The recipe of the net that adapters were merged into, wherever in it they were."""
    if isinstance(net, Adapted):
        return without_adapters(net.net)
    if isinstance(net, tuple):
        return tuple(map(without_adapters, net))
    if isinstance(net, Mapping):
        return {name: without_adapters(each) for name, each in net.items()}
    if not isinstance(net, Model) or not is_dataclass(net):
        return net
    parts = {part.name: getattr(net, part.name) for part in fields(net) if part.init}
    return replace(net, **{name: without_adapters(part) for name, part in parts.items()})


def _layers(module: nn.Module, fitting: tuple[type[nn.Module], ...]) -> Iterator[str]:
    """Names of the layers that adapters fit and can be merged into: without one yet, groups or tied weights."""
    owners = Counter(id(parameter) for _, parameter in module.named_parameters(remove_duplicate=False))
    for name, layer in module.named_modules():
        kind = type(layer).__name__
        fits = kind != _OPAQUE and (isinstance(layer, fitting) or kind == _CONV1D)
        alone = all(owners[id(parameter)] == 1 for parameter in layer.parameters(recurse=False))
        inside = ADAPTER in name or name.endswith(f".{BASE}")  # of a layer that has an adapter already
        if name and fits and alone and getattr(layer, "groups", 1) == 1 and not inside:
            yield name


def _found(setting: str, patterns: Sequence[str], names: Sequence[str], what: str) -> list[str]:
    """The names that patterns match, whole or at their end.

    Raises: ModelError for a pattern that matches none.
    """

    def matches(name: str, pattern: str) -> bool:
        return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")

    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
            there = f"{', '.join(names[:_MAX_NAMES])}{more}" if names else "none"
            raise ModelError(f"{setting}: {pattern!r} matches no {what} of the net; there are: {there}")
    return [name for name in names if any(matches(name, pattern) for pattern in patterns)]
