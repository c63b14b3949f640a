"""Which part of the common net an agent holds, and how it is cut out of the whole."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from raycollab.errors import ModelError
from raycollab.models.base import Model
from raycollab.models.early_exits import EarlyExits
from raycollab.models.narrowed import Narrowed
from raycollab.settings import Settings, require
from raycollab.spec import fits, leading


class SubModel(Settings, ABC):
    """A part of a net, for agents that cannot hold all of it.

    Attributes:
        slices: Whether it has parts of tensors, for which there must be `Exchange(slices=True)`.
    """

    slices: ClassVar[bool] = False

    @abstractmethod
    def of(self, net: Model) -> Model:
        """The part of a net.

        Raises: ModelError for a net that has no such part.
        """


@dataclass(frozen=True)
class Width(SubModel):
    """The first channels of every hidden layer.

    A BatchNorm's statistics differ from width to width, and their average suits none. Leave them with each agent, and
    use a batch's own (static BatchNorm): `Exchange(slices=True, buffers="private")`, and around the task
    `rc.adapt.Adapted(task, rc.adapt.BatchStatistics())`.

    Args:
        width: Share of them, in (0, 1].
        scaled: Narrowed's, for nets with norms; inside an OrderedDropout nothing is scaled.
    Source: Diao et al., HeteroFL, ICLR 2021, arXiv 2010.01264, section 3, also for static BatchNorm.
    """

    width: float
    scaled: bool = False

    slices = True

    def __post_init__(self) -> None:
        require(0 < self.width <= 1, "Width.width", self.width, "must be in (0, 1]: a share of the hidden channels")

    def of(self, net: Model) -> Model:
        """The narrower net; of all channels the net itself."""
        return net if self.width == 1 else Narrowed(net, self.width, self.scaled)


@dataclass(frozen=True)
class UpTo(SubModel):
    """The net up to one of its exits.

    Args:
        exit: Its name.
    Source: Kim et al., DepthFL, ICLR 2023.
    """

    exit: str

    def of(self, net: Model) -> Model:
        """The net that ends there."""
        if not isinstance(net, EarlyExits):
            raise ModelError(f"UpTo({self.exit!r}): {type(net).__name__} has no exits; put EarlyExits around it")
        return replace(net, upto=self.exit)


def cut_out(module: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Give a smaller net the weights that it shares with a whole one: of each tensor the first rows, columns, ...

    Args:
        module: The smaller net, changed in place and returned.
        weights: The whole one's, by name.
    Raises: ModelError for a tensor that the whole has not.
    """
    for name, tensor in module.state_dict().items():
        whole = weights.get(name)
        if whole is None or not fits(tuple(tensor.shape), tuple(whole.shape), slices=True):
            raise ModelError(f"{name!r} of shape {list(tensor.shape)} is no part of the whole net")
        tensor.copy_(leading(whole, tensor.shape))
    return module
