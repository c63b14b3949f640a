"""Data sets that are Python classes: any torch Dataset, and those of torchvision by name."""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch

from raycollab.data.base import Opened, Source
from raycollab.data.columns import Columns
from raycollab.errors import ConfigError, DataError
from raycollab.places import candidates, find_folder
from raycollab.recipe import import_named
from raycollab.settings import require, require_one_of


@dataclass(frozen=True)
class Items(Source):
    """Items of a data set in Python: dicts of values, or tuples that `names` gives names to.

    An item's values are images of Pillow, tensors, arrays or numbers. Images become float32 [channels, h, w] in 0..1.
    """

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What the values of an item are called."""

    @property
    @abstractmethod
    def bad_rows(self) -> str:
        """What becomes of items that cannot be read: "error" or "skip"."""

    @abstractmethod
    def dataset(self) -> Any:
        """Make the data set.

        Raises: ConfigError if there is no such class; DataError if its data is not there.
        """

    def read(self) -> Columns:
        """Read all items."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read all items, or those of an index if the data set can be asked for them.

        Raises: DataError for an item that cannot be used, unless such items are skipped.
        """
        dataset, found, skipped, kept = self.dataset(), list[dict[str, torch.Tensor]](), list[str](), list[int]()
        for place, (number, item) in enumerate(_items(dataset, rows)):
            try:
                made = {name: _tensor(value) for name, value in self._named(item()).items()}
                _check_alike(made, found[0] if found else made)
            except Exception as error:  # whatever a user's class raises is said with the number of the item
                text = f"{self.describe()}: item {number}: {type(error).__name__}: {' '.join(str(error).split())}"
                if self.bad_rows == "error":
                    raise DataError(f"{text}; mend it, or leave such items out with bad_rows='skip'") from error
                skipped.append(text)
            else:
                found.append(made)
                kept.append(place)
        if not found:
            raise DataError(f"{self.describe()}: 0 items that can be read, {len(skipped)} skipped")
        columns = {name: torch.stack([made[name] for made in found]) for name in found[0]}
        return Opened(columns, tuple(skipped), np.array(kept, np.int64) if skipped else None)

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """All columns of all items: rows of items that are skipped cannot be dealt out by what they hold."""
        opened = self.open()
        if opened.kept is not None:
            raise DataError(
                f"{self.describe()}: {len(opened.skipped)} items cannot be read, so that rows cannot be dealt out; "
                f"mend them: {opened.skipped[0]}"
            )
        return opened.columns

    def tolerant(self) -> Source:
        """The same items, with those that cannot be read skipped."""
        return replace(self, bad_rows="skip")  # type: ignore[call-arg]

    def _named(self, item: Any) -> Mapping[str, Any]:
        if isinstance(item, Mapping):
            return item
        values = item if isinstance(item, tuple | list) else (item,)
        if len(values) != len(self.names):
            raise ValueError(f"holds {len(values)} values, and names={self.names}")
        return dict(zip(self.names, values, strict=True))


@dataclass(frozen=True)
class TorchDataset(Items):
    """Any torch Dataset, map-style or iterable, made inside the agent.

    Args:
        target: A class or function, or where to import it from: "package.module.Name".
        args: Its arguments: plain values.
        names: What the values of an item are called.
        bad_rows: "error", or "skip" to leave out items whose reading raises, and count them.
    """

    target: str | Callable[..., Any]
    args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    names: tuple[str, ...] = ("image", "label")
    bad_rows: str = "error"

    imports: ClassVar[tuple[str, ...]] = ("target",)  # what raycollab.recipe must be told to trust

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        require(bool(self.names), "TorchDataset.names", self.names, "must name the values of an item")
        require_one_of("TorchDataset.bad_rows", self.bad_rows, ("error", "skip"))

    def describe(self) -> str:
        """Return one short line for people."""
        return self.target if isinstance(self.target, str) else self.target.__qualname__

    def dataset(self) -> Any:
        """Make the data set."""
        make = import_named(self.target.replace(":", ".")) if isinstance(self.target, str) else self.target
        return _made(self.describe(), make, self.args)


@dataclass(frozen=True)
class Torchvision(Items):
    """A data set of torchvision by name, from files that are there already: nothing is downloaded.

    Args:
        name: Name of a class of torchvision.datasets, such as "CIFAR10".
        root: Folder of its files, as torchvision wants it; a relative one that does not exist is also looked for under
            $RAYCOLLAB_DATA. Empty for data sets without files.
        args: Its further arguments, such as `{"train": False}` or `{"split": "test"}`.
        names: What the values of an item are called.
        bad_rows: "error", or "skip" to leave out items that cannot be read, and count them.
    """

    name: str
    root: str = ""
    args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    names: tuple[str, ...] = ("image", "label")
    bad_rows: str = "error"

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        require(bool(self.name), "Torchvision.name", self.name, "must name a class of torchvision.datasets")
        require_one_of("Torchvision.bad_rows", self.bad_rows, ("error", "skip"))

    def describe(self) -> str:
        """Return one short line for people."""
        return " ".join(["torchvision", self.name, *(f"{name}={value}" for name, value in self.args.items())])

    def dataset(self) -> Any:
        """Make the data set."""
        known = import_module("torchvision.datasets")  # a second that other sources need not pay
        if self.name not in known.__all__:
            raise ConfigError(
                f"Torchvision.name={self.name!r}: torchvision.datasets has: {', '.join(sorted(known.__all__))}"
            )
        make, args = getattr(known, self.name), dict(self.args)
        if self.root:
            args["root"] = find_folder(self.root)
            if args["root"] is None:
                raise DataError(
                    f"Torchvision({self.name!r}).root={self.root!r}: no folder there; tried: "
                    f"{', '.join(candidates(self.root))}; put the files there on every node that reads them"
                )
        if "download" in inspect.signature(make).parameters:
            args["download"] = False
        return _made(self.describe(), make, args)


def _made(name: str, make: Callable[..., Any], args: Mapping[str, Any]) -> Any:
    try:
        return make(**args)
    except Exception as error:  # of many kinds: wrong arguments, missing or damaged files
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: cannot be opened with {dict(args)}: {type(error).__name__}: {reason}") from error


def _items(dataset: Any, rows: np.ndarray | None) -> Iterator[tuple[int, Callable[[], Any]]]:
    """Numbers of items, and what gets each of them."""
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
        for number in range(len(dataset)) if rows is None else rows.tolist():
            yield number, partial(dataset.__getitem__, number)
        return
    wanted = None if rows is None else set(rows.tolist())
    for number, item in enumerate(dataset):
        if wanted is None or number in wanted:
            yield number, partial(_same, item)


def _same(item: Any) -> Any:
    return item


def _tensor(value: Any) -> torch.Tensor:
    if hasattr(value, "getbands"):  # an image of Pillow
        pixels = torch.from_numpy(np.array(value))
        pixels = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        return pixels.to(torch.float32) / 255 if pixels.dtype == torch.uint8 else pixels.to(torch.float32)
    tensor = torch.as_tensor(value)
    if tensor.is_floating_point():
        return tensor.to(torch.float32)
    return tensor if tensor.dtype == torch.uint8 else tensor.to(torch.int64)


def _check_alike(item: Mapping[str, torch.Tensor], first: Mapping[str, torch.Tensor]) -> None:
    shapes: Sequence[dict[str, tuple[int, ...]]] = [
        {name: tuple(value.shape) for name, value in each.items()} for each in (item, first)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(f"has shapes {shapes[0]}, others have {shapes[1]}; bring them to one")
