"""Parquet files: tables of numbers, and images, encoded or as bytes of one length."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyarrow import fs

from raycollab.config import require
from raycollab.data.arrow import is_supported, to_tensor
from raycollab.data.base import Columns, Source
from raycollab.data.columns import LABEL
from raycollab.data.files import find_files
from raycollab.data.images import COLORS, decode_images, is_encoded
from raycollab.errors import DataError


@dataclass(frozen=True)
class Parquet(Source):
    """Rows of Parquet files; `raycollab.data.arrow` says which types become which tensors.

    Args:
        path: A file, a folder, a glob or any pyarrow.fs URI. `~` and `$RAYCOLLAB_DATA` are expanded where it is read,
            and a relative path that does not exist is also looked for under $RAYCOLLAB_DATA.
        columns: Columns to read, next to the label; None reads all of them.
        shapes: Shape of one example, for columns of lists or bytes: `{"image": (1, 28, 28)}`.
        scale: Images, and columns of bytes that have a shape, are divided by this and become float32, so that 255 gives
            images in 0..1; None keeps uint8.
        images: Columns of encoded images and their colours, "rgb" or "gray": `{"image": "rgb"}` gives [3, h, w].
        normalize: Mean and standard deviation of each channel, by column, taken off and divided by after `scale`:
            `{"image": ((0.1307,), (0.3081,))}`.
        label: The column that is renamed to `label`; None if there are no labels.

    Example in YAML: `{path: mnist.parquet, shapes: {image: [1, 28, 28]}}`.
    """

    path: str
    columns: tuple[str, ...] | None = None
    shapes: dict[str, tuple[int, ...]] | None = field(
        default=None, hash=False
    )  # a dict does not hash; it still compares
    scale: float | None = 255.0
    images: dict[str, str] = field(default_factory=dict, hash=False)
    normalize: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict, hash=False)
    label: str | None = LABEL

    def __post_init__(self) -> None:
        require(bool(self.path), "Parquet.path", self.path, "must name a file, a folder, a glob or a URI")
        require(
            self.scale is None or self.scale > 0,
            "Parquet.scale",
            self.scale,
            "must be > 0; 255 gives 0..1, null keeps uint8",
        )
        if self.columns is not None:
            require(
                len(self.columns) > 0, "Parquet.columns", self.columns, "must name a column; null reads all of them"
            )
            object.__setattr__(self, "columns", tuple(self.columns))
        if self.shapes is not None:
            object.__setattr__(self, "shapes", {name: tuple(shape) for name, shape in self.shapes.items()})
        for name, shape in (self.shapes or {}).items():
            whole = all(isinstance(size, int) and size >= 1 for size in shape)
            require(whole, f"Parquet.shapes[{name!r}]", shape, "must be whole numbers >= 1, the shape of one example")
        statistics = {name: (tuple(mean), tuple(std)) for name, (mean, std) in self.normalize.items()}
        object.__setattr__(self, "normalize", statistics)
        for name, (mean, std) in statistics.items():
            good = len(mean) == len(std) >= 1 and min(std) > 0
            accepted = "must be means and standard deviations > 0, as many of each: one a channel"
            require(good, f"Parquet.normalize[{name!r}]", (mean, std), accepted)
        for name, color in self.images.items():
            require(color in COLORS, f"Parquet.images[{name!r}]", color, f"must be one of {COLORS}")

    def describe(self) -> str:
        """Return one short line for people."""
        return self.path

    def read(self) -> Columns:
        """Read all rows."""
        filesystem, files = find_files(self.path, ".parquet")
        table = self._read_table(filesystem, files)
        if not table.num_rows:
            raise DataError(f"{self.path}: 0 rows in {len(files)} file(s); an agent needs at least one")
        tensors = {name: self._tensor(table[name], name) for name in table.column_names}
        for name, shape in (self.shapes or {}).items():
            tensors[name] = self._reshape(name, tensors, shape)
        for name, (mean, std) in self.normalize.items():
            tensors[name] = self._normalized(name, tensors, mean, std)
        return {LABEL if name == self.label else name: tensor for name, tensor in tensors.items()}

    def _tensor(self, column: pa.ChunkedArray, name: str) -> torch.Tensor:
        where = f"{self.path}: column {name!r}"
        if name not in self.images:
            return to_tensor(column, where)
        images = decode_images(column, self.images[name], where)
        return images if self.scale is None else images.to(torch.float32).div_(self.scale)

    def _read_table(self, filesystem: fs.FileSystem, files: list[str]) -> pa.Table:
        tables = [self._read_file(filesystem, file) for file in files]
        for file, table in zip(files, tables, strict=True):
            if dict(_kinds(table)) != dict(_kinds(tables[0])):
                here, there = (
                    ", ".join(f"{name} {kind}" for name, kind in _kinds(each)) for each in (table, tables[0])
                )
                raise DataError(
                    f"{file}: columns differ from {files[0]}: {here} and {there}; name those in common with columns="
                )
        return pa.concat_tables([table.select(tables[0].column_names) for table in tables])

    def _read_file(self, filesystem: fs.FileSystem, file: str) -> pa.Table:
        try:
            with filesystem.open_input_file(file) as stream, pq.ParquetFile(stream) as parquet:
                table = parquet.read(columns=self._wanted(parquet.schema_arrow, file))
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{file}: cannot be read as Parquet: {reason}; copy or write the file again") from error
        return pa.table(
            table.columns, names=table.column_names
        )  # without metadata and null flags, in which files may differ

    def _wanted(self, schema: pa.Schema, file: str) -> list[str]:
        """Return the columns to read, after a check of their names and types."""
        asked = list(self.columns) if self.columns is not None else schema.names
        wanted = list(
            dict.fromkeys([*asked, *(self.shapes or {}), *self.images, *([self.label] if self.label else [])])
        )
        missing = [name for name in wanted if name not in schema.names]
        if missing:
            hint = "; write label=null if there are no labels" if self.label in missing else ""
            raise DataError(
                f"{file}: no column {', '.join(map(repr, missing))}; there are: {', '.join(schema.names)}{hint}"
            )
        if self.label not in (LABEL, None) and LABEL in wanted:
            raise DataError(
                f"{file}: {self.label!r} is to be renamed to {LABEL!r}, which exists; leave that out with columns="
            )
        twice = [name for name in wanted if schema.names.count(name) > 1]
        if twice:
            raise DataError(
                f"{file}: holds two columns {twice[0]!r}; leave them out with columns=, or write the file again"
            )
        refused = [name for name in wanted if not self._accepts(name, schema.field(name).type)]
        if refused:
            kinds = ", ".join(f"{name!r} ({schema.field(name).type})" for name in refused)
            encoded = [name for name in refused if is_encoded(schema.field(name).type)]
            rest = tuple(name for name in wanted if name not in refused)
            hint = f", or decode images with images={dict.fromkeys(encoded, 'rgb')}" if encoded else ""
            raise DataError(f"{file}: not numbers: {kinds}; leave them out with columns={rest}{hint}")
        return wanted

    def _reshape(self, name: str, tensors: Mapping[str, torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
        tensor = tensors[name]
        held = tensor[0].numel()
        if held != prod(shape):
            raise DataError(
                f"{self.path}: shapes[{name!r}]={shape} holds {prod(shape)} values, but an example has {held}"
            )
        if tensor.dtype == torch.uint8 and self.scale is not None:
            tensor = tensor.to(torch.float32).div_(self.scale)  # in place on a copy of our own
        return tensor.reshape(-1, *shape)

    def _normalized(
        self, name: str, tensors: Mapping[str, torch.Tensor], mean: tuple[float, ...], std: tuple[float, ...]
    ) -> torch.Tensor:
        tensor = tensors.get(name)
        if tensor is None or not tensor.is_floating_point() or tensor.ndim < 2 or tensor.shape[1] != len(mean):
            found = "is not read" if tensor is None else f"is {tensor.dtype} of shape {list(tensor.shape)}"
            raise DataError(
                f"{self.path}: normalize[{name!r}] has {len(mean)} channels, but the column {found}; it must be floats "
                f"[n, {len(mean)}, ...]: check scale, shapes and images"
            )
        form = (1, len(mean), *(1 for _ in tensor.shape[2:]))
        return tensor.sub_(torch.tensor(mean).view(form)).div_(torch.tensor(std).view(form))  # a copy of our own

    def _accepts(self, name: str, kind: pa.DataType) -> bool:
        return is_encoded(kind) if name in self.images else is_supported(kind)


def _kinds(table: pa.Table) -> list[tuple[str, str]]:
    return [(column.name, str(column.type)) for column in table.schema]
