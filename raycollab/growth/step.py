"""From one form of a net to a larger one, so that what it says of any input stays the same."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from raycollab.errors import ModelError
from raycollab.growth.layers import Layer, head_of, row_of_layers
from raycollab.rng import derive_seed


@dataclass(frozen=True)
class Way:
    """How a tensor of the larger net comes about.

    Args:
        rows: Which row of before each copies [rows]; -1 is a fresh one. None leaves them as they are.
        columns: Which column of before each is a part of [columns]; None leaves them as they are.
        bound: Fresh rows are drawn uniformly between its negative and itself.
        start: What stands for the tensor of before where the smaller net has none.
    """

    rows: Tensor | None = None
    columns: Tensor | None = None
    bound: float = 0.0
    start: Tensor | None = None

    def grown(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        """The tensor of the larger net."""
        if self.rows is not None:
            tensor = tensor[self.rows.clamp(min=0).to(tensor.device)]
        if self.columns is not None:
            columns = self.columns.to(tensor.device)
            tensor = tensor[:, columns] * self._parts(tensor, columns, generator)
        if self.rows is not None and bool((self.rows < 0).any()):
            drawn = torch.rand(tensor.shape, generator=generator).mul_(2 * self.bound).sub_(self.bound).to(tensor)
            fresh = (self.rows < 0).to(tensor.device).view(-1, *[1] * (tensor.ndim - 1))
            tensor = torch.where(fresh, drawn, tensor)
        return tensor

    def _parts(self, tensor: Tensor, columns: Tensor, generator: torch.Generator) -> Tensor:
        """What share each copy of a unit has in what goes out of it: those of one unit add up to 1."""
        drawn = torch.empty(len(tensor), len(columns), *tensor.shape[2:]).exponential_(generator=generator).to(tensor)
        return drawn / torch.zeros_like(tensor).index_add_(1, columns, drawn)[:, columns]

    def shrunk(self, tensor: Tensor, like: torch.Size) -> Tensor:
        """The tensor of the smaller net: what `grown` made, undone."""
        tensor = tensor[: like[0]] if self.rows is not None else tensor
        if self.columns is not None:
            tensor = tensor.new_zeros(like).index_add_(1, self.columns.to(tensor.device), tensor)
        return tensor


class Step:
    """Turns tensors of one form of a net into those of the next, by their names.

    A unit that is new copies one that was there, drawn at random; what goes out of the two is divided between them, by
    shares that are drawn for each weight, so that they go apart when they learn. A layer that is new is the identity. A
    new output has fresh weights, and the others stay as they are. BatchNorm's values and statistics are copied with
    their units; one that is new changes nothing in evaluation.

    Args:
        small: The net in its present form.
        large: In its next.
        seed: Of what is drawn.
    Raises: ModelError if the next form is not larger, or nothing says how its tensors come about.
    Source: Chen, Goodfellow and Shlens, ICLR 2016, arXiv 1511.05641 (Net2WiderNet, Net2DeeperNet). They divide what
        goes out of a unit evenly, and add noise to part copies.
    """

    def __init__(self, small: nn.Module, large: nn.Module, seed: int):
        self._seed = seed
        self._small = {name: tensor.shape for name, tensor in small.state_dict().items()}
        self._large = {name: tensor.shape for name, tensor in large.state_dict().items()}
        changed = self._changed()
        head = head_of(large)
        if all(name in (f"{head}.weight", f"{head}.bias") for name in changed) and self._only_rows(changed):
            self._ways = self._with_outputs(head)
        elif row := row_of_layers(large):
            self._ways = self._along(row, large)
        else:
            raise ModelError(
                f"growth: {changed[0]!r} grows, and {type(large).__name__} is no row of layers (nn.Sequential of "
                f"linear layers, convolutions, BatchNorm and what works unit by unit): only the rows of its last "
                f"nn.Linear, {head!r}, can become more"
            )
        if left := [name for name in changed if name not in self._ways]:
            raise ModelError(f"growth: nothing says how {left[0]!r} comes about; layers in a row with what is known do")

    def grow(self, values: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
        """Tensors of the next form.

        Args:
            values: Of the present one; it may be some of them only.
            names: Which are wanted, as far as there is something to make them of.
        """
        grown: dict[str, Tensor] = {}
        for name in names:
            way = self._ways.get(name)
            before = values.get(name, way.start if way else None)
            if before is not None:
                seed = derive_seed(self._seed, name)
                grown[name] = way.grown(before, torch.Generator().manual_seed(seed)) if way else before
        return grown

    def shrink(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the present form, of those of the next: copies of a unit become one again."""
        kept = {name: tensor for name, tensor in values.items() if name in self._small}
        ways = {name: self._ways.get(name, _AS_IT_IS) for name in kept}
        return {name: ways[name].shrunk(tensor, self._small[name]) for name, tensor in kept.items()}

    def _changed(self) -> list[str]:
        """Names of the tensors that are not as they were."""
        for name, shape in self._small.items():
            after = self._large.get(name)
            if after is None or len(after) != len(shape) or any(a < b for a, b in zip(after, shape, strict=True)):
                found = "is not there" if after is None else f"has shape {tuple(after)}"
                raise ModelError(
                    f"growth: {name!r} has shape {tuple(shape)} in one form and {found} in the next: forms only grow; "
                    f"give them from the smallest on, the task's own net is the last"
                )
        changed = [name for name, shape in self._large.items() if self._small.get(name) != shape]
        if not changed:
            raise ModelError("growth: two forms in a row are of one size; leave one of them out")
        return changed

    def _only_rows(self, names: list[str]) -> bool:
        return all(name in self._small and self._small[name][1:] == self._large[name][1:] for name in names)

    def _with_outputs(self, head: str) -> dict[str, Way]:
        """More outputs, and nothing else."""
        bound = 1 / math.sqrt(self._large[f"{head}.weight"][1])
        names = [name for name in (f"{head}.weight", f"{head}.bias") if name in self._large]
        return {name: Way(_fresh(self._small[name][0], self._large[name][0]), bound=bound) for name in names}

    def _along(self, row: tuple[Layer, ...], large: nn.Module) -> dict[str, Way]:
        """Layer by layer: what one has more of, the next is given."""
        ways: dict[str, Way] = {}
        units, before = torch.arange(row[0].given), row[0].given  # which unit each one copies, and how many there were
        for layer in row:
            weight, new = f"{layer.name}.weight", f"{layer.name}.weight" not in self._small
            given, reach = before, layer.given // len(units)  # a unit of an image is so many numbers, once flattened
            columns = (units[:, None] * reach + torch.arange(reach)).flatten()
            start = self._identity(layer, given, reach, last=layer is row[-1]) if new else None
            before = given if new else self._small[weight][0]
            if not new and self._small[weight][1] != given * reach:
                raise ModelError(f"growth: {weight!r} is given {self._small[weight][1]} and not {given * reach} before")
            units = _fresh(before, layer.units) if layer is row[-1] else self._copies(layer, before)
            bound = 1 / math.sqrt(math.prod(self._large[weight][1:]))
            same = len(columns) == given * reach
            ways[weight] = Way(units, None if same else columns, bound, start)
            if f"{layer.name}.bias" in self._large:
                ways[f"{layer.name}.bias"] = Way(units, None, bound, torch.zeros(before) if new else None)
            for norm in layer.norms:
                ways |= self._of_norm(norm, large.get_submodule(norm), units, before)
        return ways

    def _copies(self, layer: Layer, before: int) -> Tensor:
        """The units that were there, and as many random ones of them again as are new."""
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "units", layer.name))
        drawn = torch.randint(before, (layer.units - before,), generator=generator)
        return torch.cat([torch.arange(before), drawn])

    def _identity(self, layer: Layer, given: int, reach: int, *, last: bool) -> Tensor:
        """The weights of a new layer that hands on what it is given [given, given, ...]."""
        module = layer.module
        if last or reach != 1:
            raise ModelError(f"growth: {layer.name!r} cannot be new: {'it is the last' if last else 'it flattens'}")
        eye = torch.eye(given)
        if not isinstance(module, _ConvNd):
            return eye
        keeps = all(
            s == 1 and d == 1 and k % 2 == 1 and p in ("same", k // 2)
            for s, d, k, p in zip(module.stride, module.dilation, module.kernel_size, _padding(module), strict=True)
        )
        if not keeps or module.padding_mode != "zeros":
            raise ModelError(
                f"growth: the new convolution {layer.name!r} changes the size of images: the identity has an odd "
                f"kernel, stride 1 and half a kernel of zeros around"
            )
        start = torch.zeros(given, given, *module.kernel_size)
        middle = sum((k // 2) * stride for k, stride in zip(module.kernel_size, start.stride()[2:], strict=True))
        start.view(given, given, -1)[:, :, middle] = eye
        return start

    def _of_norm(self, name: str, module: nn.Module, units: Tensor, before: int) -> dict[str, Way]:
        values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        if isinstance(module, _BatchNorm):
            values["weight"] = math.sqrt(1 + module.eps)
        tensors = {f"{name}.{key}": value for key, value in values.items() if f"{name}.{key}" in self._large}
        ways = {
            key: Way(units, start=None if key in self._small else torch.full((before,), value))
            for key, value in tensors.items()
        }
        counter = f"{name}.num_batches_tracked"
        return ways if counter in self._small or counter not in self._large else {**ways, counter: _COUNTER}


_AS_IT_IS = Way()
_COUNTER = Way(start=torch.zeros((), dtype=torch.int64))


def _fresh(before: int, after: int) -> Tensor:
    """As many rows as there were, and fresh ones."""
    return torch.cat([torch.arange(before), torch.full((after - before,), -1)])


def _padding(module: _ConvNd) -> tuple[object, ...]:
    padding = module.padding
    return (padding,) * len(module.kernel_size) if isinstance(padding, str) else padding
