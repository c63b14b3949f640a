"""A net with classifiers on the way, so that easy examples need not go through all of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from raycollab.errors import ModelError
from raycollab.models.wrapper import Wrapper
from raycollab.settings import require

END = "end"  # what the net's own outputs are called among its exits
_WITH_OUTPUTS = (nn.Linear, nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm)


@dataclass(frozen=True)
class EarlyExits(Wrapper):
    """Another model with a linear classifier behind some of its parts; `rc.tasks.EarlyExiting` trains and uses them.

    Called as any net, it gives the outputs of its last exit. Parameters are named net.* and exits.NAME.*.

    Args:
        net: An nn.Sequential when it is built, such as MLP, CNN and ResNet.
        after: Names of its parts, those of inner nn.Sequentials too, from the front to the back: "3", "layer1".
        upto: Name of the last exit that is there, for agents that hold no more of the net; None for all of it.
    Shapes: a part that makes images [b, c, ...] has the mean over their places classified, any other what it makes
        [b, c].
    Raises: ModelError where it is built: for a part that is not there, with those that are.
    Source: Teerapittayanon et al., BranchyNet, ICPR 2016, arXiv 1709.01686; agents of several depths are those of
        DepthFL, Kim et al., ICLR 2023.
    """

    after: tuple[str, ...]
    upto: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "after", tuple(self.after))
        require(bool(self.after), "EarlyExits.after", self.after, "must name parts of the net, such as ('3',)")
        known = self.upto is None or self.upto in self.after
        require(known, "EarlyExits.upto", self.upto, f"must be one of the exits: {', '.join(self.after)}")

    def changed(self, module: nn.Module) -> nn.Module:
        """Put the exits in; without what is behind the last of them, if not all is held."""
        ends = _ends(module)
        missing = [name for name in self.after if name not in ends]
        if missing:
            raise ModelError(
                f"EarlyExits.after: the net has no part {missing[0]!r} to put an exit behind; there are: "
                f"{', '.join(ends) or 'none, as it is no nn.Sequential'}"
            )
        places = [ends[name] for name in self.after]
        if places != sorted(set(places)):
            raise ModelError(f"EarlyExits.after={self.after}: must be in the order of the net, each place once")
        count = len(places) if self.upto is None else self.after.index(self.upto) + 1
        chain = list(_chain(module))
        held = self.after[:count]
        classes = _outputs(chain, "its end")
        exits = {name: _Exit(name, _outputs(chain[: ends[name]], name), classes) for name in held}
        if self.upto is not None:
            for name, _ in chain[places[count - 1] :]:
                parent, _, key = name.rpartition(".")
                delattr(module.get_submodule(parent), key)
        return WithExits(module, exits, dict(zip(exits, places, strict=False)), len(chain))


class WithExits(nn.Module):
    """A net and its exits.

    Args:
        net: An nn.Sequential, perhaps of others.
        exits: Classifiers by the name of the part that they are behind.
        places: How many parts are in front of each of them.
        size: Parts of the whole net.
    """

    def __init__(self, net: nn.Module, exits: dict[str, "_Exit"], places: dict[str, int], size: int):
        super().__init__()
        self.net = net
        self.exits = nn.ModuleDict({name.replace(".", "/"): exit for name, exit in exits.items()})
        self._places = places
        self._size = size

    @property
    def shares(self) -> dict[str, float]:
        """The share of the net that is run up to each exit, by its name; the last may be the net's end."""
        held = {name: place / self._size for name, place in self._places.items()}
        return {**held, END: 1.0} if len(list(_chain(self.net))) == self._size else held

    def forward(self, inputs: Tensor, *, every: bool = False) -> Any:
        """The outputs of the last exit [b, c]; of every one, in order, if asked for."""
        hidden, made = inputs, list[Tensor]()
        behind = {place: self.exits[name.replace(".", "/")] for name, place in self._places.items()}
        chain = [part for _, part in _chain(self.net)]
        for place, part in enumerate(chain, 1):
            hidden = part(hidden)
            if place in behind and (every or place == len(chain)):
                made.append(behind[place](hidden))
        if len(chain) == self._size:
            made.append(hidden)
        return made if every else made[-1]


class _Exit(nn.Linear):
    """A classifier of the mean over all places."""

    def __init__(self, name: str, num_features: int, num_outputs: int):
        super().__init__(num_features, num_outputs)
        self._name = name

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim > 2:
            features = features.flatten(2).mean(2)
        if features.shape[1] != self.in_features:
            raise ModelError(
                f"EarlyExits: behind {self._name!r} there are {features.shape[1]} features, and the layer before it "
                f"makes {self.in_features}: put the exit in front of what flattens images"
            )
        return super().forward(features)


def _chain(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The parts of an nn.Sequential in the order in which they run, those of inner ones in their places."""
    if not isinstance(module, nn.Sequential):
        yield prefix, module
        return
    for name, inner in module._modules.items():  # with one that stands there twice
        yield from _chain(inner, f"{prefix}.{name}" if prefix else name)


def _ends(module: nn.Module) -> dict[str, int]:
    """How many parts have run when one of this name, alone or an inner nn.Sequential, has; the last is no exit."""
    ends: dict[str, int] = {}
    for count, (name, _) in enumerate(_chain(module), 1):
        ends[name] = count
        while "." in name:
            name = name.rpartition(".")[0]
            ends[name] = count
    return {name: count for name, count in sorted(ends.items(), key=lambda end: end[1]) if count < max(ends.values())}


def _outputs(chain: list[tuple[str, nn.Module]], name: str) -> int:
    """How many channels or features the last of these parts makes."""
    layers = [layer for _, part in chain for layer in part.modules() if isinstance(layer, _WITH_OUTPUTS)]
    if not layers:
        raise ModelError(f"EarlyExits.after: there is no layer up to {name!r} that an exit could classify by")
    return len(layers[-1].weight)
