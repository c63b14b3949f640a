"""Which columns of a table are read, and what becomes of each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import pyarrow as pa
import torch

from raycollab.data.arrow import decode_numbers, is_supported
from raycollab.data.audio import decode_audio
from raycollab.data.base import Source
from raycollab.data.categories import codes, decode_categories, is_named
from raycollab.data.columns import LABEL, Columns
from raycollab.data.decoded import Decoded
from raycollab.data.images import COLORS, decode_images, is_encoded
from raycollab.data.ragged import decode_series, is_series
from raycollab.data.token_rows import decode_texts, decode_words, is_text, is_words
from raycollab.data.tokenizers import Tokenizer
from raycollab.errors import DataError
from raycollab.settings import require, require_one_of


@dataclass(frozen=True)
class Columned(Source):
    """Rows of files; `raycollab.data.arrow` says which types of numbers become which tensors.

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
        resize: Height and width that encoded images are brought to: `{"image": (32, 32)}`.
        audio: Columns of WAV files, their samples a second and the seconds that are kept: `{"wav": (8000, 1.0)}` gives
            float32 [8000] in -1..1.
        categories: Columns of names, and all names in the order of their numbers: `{"label": ("cat", "dog")}`. The
            same for all parties, whichever names they hold.
        where: Only rows whose column holds one of these are read: `{"split": ("train",)}`.
        bad_rows: "error", or "skip" to leave out rows that cannot be used, and count them.
        text: Columns of text and the tokens that are kept of each: `{"text": 64}` gives int64 [64]; behind a short text
            stands -1, which is no token.
        tokenizer: How such text becomes tokens: the same for all parties.
        stack: Columns of numbers that become one: `{"features": ("age", "hours")}` gives float32 [2], which `normalize`
            may name.
        per_word: A column of `text`, lists of words or texts cut at white space, for whose words the label holds a list
            of one each: `label` becomes int64 [64], a label at the first token of a word and -100 elsewhere.
        series: Columns of time series of any length, the steps that are kept of the beginning, and values a step:
            `{"xyz": (256, 3)}` gives [256, 3]; bytes are divided by `scale`. A shorter series is a bad row.
        other: What names that are none of a column's categories count as: `{"country": "elsewhere"}`, one of them.
            Without it such a row is bad.

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
    resize: dict[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    audio: dict[str, tuple[int, float]] = field(default_factory=dict, hash=False)
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    where: dict[str, tuple[str | float, ...]] = field(default_factory=dict, hash=False)
    bad_rows: str = "error"
    text: dict[str, int] = field(default_factory=dict, hash=False)
    tokenizer: Tokenizer | None = None
    stack: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    series: dict[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    other: dict[str, str] = field(default_factory=dict, hash=False)
    per_word: str = ""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        require(bool(self.path), f"{kind}.path", self.path, "must name a file, a folder, a glob or a URI")
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(self.columns))
        for name in ("shapes", "resize", "audio", "categories", "where", "stack", "series"):
            held = getattr(self, name)
            if held is not None:
                object.__setattr__(self, name, {key: tuple(value) for key, value in held.items()})
        statistics = {name: (tuple(mean), tuple(std)) for name, (mean, std) in self.normalize.items()}
        object.__setattr__(self, "normalize", statistics)
        self._check(kind)

    def _check(self, kind: str) -> None:
        positive = self.scale is None or self.scale > 0
        require(positive, f"{kind}.scale", self.scale, "must be > 0; 255 gives 0..1, null keeps uint8")
        some = self.columns is None or len(self.columns) > 0
        require(some, f"{kind}.columns", self.columns, "must name a column; null reads all of them")
        for setting in ("shapes", "resize"):
            for name, shape in (getattr(self, setting) or {}).items():
                whole = all(isinstance(size, int) and size >= 1 for size in shape)
                accepted = "must be whole numbers >= 1, the shape of one example"
                require(whole, f"{kind}.{setting}[{name!r}]", shape, accepted)
        for name, size in self.resize.items():
            good = len(size) == 2 and name in self.images
            require(good, f"{kind}.resize[{name!r}]", size, "must be (height, width) of a column of images=")
        for name, (mean, std) in self.normalize.items():
            good = len(mean) == len(std) >= 1 and min(std) > 0
            accepted = "must be means and standard deviations > 0, as many of each: one a channel"
            require(good, f"{kind}.normalize[{name!r}]", (mean, std), accepted)
        for name, color in self.images.items():
            require(color in COLORS, f"{kind}.images[{name!r}]", color, f"must be one of {COLORS}")
        for name, rate in self.audio.items():
            good = len(rate) == 2 and rate[0] >= 1 and rate[1] > 0
            require(good, f"{kind}.audio[{name!r}]", rate, "must be (samples a second, seconds), such as (8000, 1.0)")
        for name, names in self.categories.items():
            good = len(names) >= 1 and len(set(names)) == len(names)
            require(good, f"{kind}.categories[{name!r}]", names, "must be names that differ from each other")
        for name, rest in self.other.items():
            good, accepted = rest in self.categories.get(name, ()), f"must be one of categories[{name!r}]"
            require(good, f"{kind}.other[{name!r}]", rest, accepted)
        for name, window in self.series.items():
            good, accepted = len(window) == 2 and min(window) >= 1, "must be (steps, values a step), such as (256, 3)"
            require(good, f"{kind}.series[{name!r}]", window, accepted)
        for name, values in self.where.items():
            require(len(values) >= 1, f"{kind}.where[{name!r}]", values, "must name at least one value")
        for name, names in self.stack.items():
            require(len(names) >= 1, f"{kind}.stack[{name!r}]", names, "must name the columns that become one")
        for name, length in self.text.items():
            require(length >= 1, f"{kind}.text[{name!r}]", length, "must be >= 1: the tokens that are kept")
        accepted = f"must be set for text={self.text}, such as Bytes() or PretrainedTokenizer('FOLDER')"
        require(not self.text or self.tokenizer is not None, f"{kind}.tokenizer", self.tokenizer, accepted)
        known = not self.per_word or self.per_word in self.text
        require(known, f"{kind}.per_word", self.per_word, f"must be a column of text={self.text}")
        require_one_of(f"{kind}.bad_rows", self.bad_rows, ("error", "skip"))

    def chosen(self, schema: pa.Schema, file: str) -> list[str]:
        """The columns that are decoded, after a check of their names and types.

        Raises: DataError if one is missing, stands twice, or holds what nothing is said about.
        """
        everything = [n for n in schema.names if n not in self.where or self._accepts(n, schema.field(n).type)]
        asked = everything if self.columns is None else list(self.columns)
        named = [*(self.shapes or {}), *self.images, *self.audio, *self.categories, *self.text, *self.series]
        named += [name for names in self.stack.values() for name in names]
        wanted = self.present([*asked, *named, *([self.label] if self.label else [])], schema, file)
        if self.label not in (LABEL, None) and LABEL in wanted:
            raise DataError(
                f"{file}: {self.label!r} is to be renamed to {LABEL!r}, which exists; leave that out with columns="
            )
        unread = [name for name in self.normalize if name not in wanted and name not in self.stack]
        if unread:
            raise DataError(f"{file}: normalize[{unread[0]!r}] is set, but the column is not read: name it in columns=")
        refused = [name for name in wanted if not self._accepts(name, schema.field(name).type)]
        if refused:
            kinds = ", ".join(f"{name!r} ({schema.field(name).type})" for name in refused)
            rest = tuple(name for name in wanted if name not in refused)
            raise DataError(f"{file}: not numbers: {kinds}; leave them out with columns={rest}{_hint(schema, refused)}")
        return wanted

    def present(self, names: Sequence[str], schema: pa.Schema, file: str) -> list[str]:
        """These names, each once.

        Raises: DataError if the file has no such column, or two of them.
        """
        wanted = list(dict.fromkeys(names))
        missing = [name for name in wanted if name not in schema.names]
        if missing:
            hint = "; write label=null if there are no labels" if self.label in missing else ""
            raise DataError(
                f"{file}: no column {', '.join(map(repr, missing))}; there are: {', '.join(schema.names)}{hint}"
            )
        twice = [name for name in wanted if schema.names.count(name) > 1]
        if twice:
            raise DataError(
                f"{file}: holds two columns {twice[0]!r}; leave them out with columns=, or write the file again"
            )
        return wanted

    def decoded(self, name: str, table: pa.Table) -> dict[str, Decoded]:
        """What becomes of a column by name; labels of words come with their words."""
        if self.tokenizer is None or not self.per_word or name not in (self.per_word, self.label):
            return {name: self.decode_column(name, table[name])}
        if name == self.label:
            return {}
        names = self.categories.get(self.label) if self.label else None
        labels = table[self.label] if self.label else None
        words, found = decode_words(table[name], labels, self.tokenizer, self.text[name], names)
        return {name: words, self.label: found} if self.label else {name: words}

    def decode_column(self, name: str, column: pa.ChunkedArray) -> Decoded:
        """What becomes of a column: decoded, brought to its shape, scaled and normalized."""
        if name in self.images:
            decoded = decode_images(column, self.images[name], self.resize.get(name))
            decoded = Decoded(self._scaled(decoded.values), decoded.bad)
        elif name in self.audio:
            decoded = decode_audio(column, *self.audio[name])
        elif name in self.categories:
            decoded = decode_categories(column, self.categories[name], self.other.get(name))
        elif name in self.series:
            decoded = decode_series(column, *self.series[name])
        elif self.tokenizer is not None and name in self.text:
            decoded = decode_texts(column, self.tokenizer, self.text[name])
        else:
            decoded = decode_numbers(column, (self.shapes or {}).get(name))
        values = decoded.values
        if name in self.series and values.dtype == torch.uint8:
            values = self._scaled(values)
        if name in (self.shapes or {}):
            values = self._reshaped(name, values)
        if name in self.normalize:
            values = self._normalized(name, values)
        return Decoded(values, decoded.bad)

    def stacked(self, columns: Columns) -> Columns:
        """The columns, with those that become one put together.

        Raises: DataError if one of them holds more than a number a row.
        """
        parts = {name for names in self.stack.values() for name in names}
        found = {name: column for name, column in columns.items() if name not in parts}
        for name, names in self.stack.items():
            wide = [part for part in names if columns[part].ndim != 1]
            if wide:
                shape = list(columns[wide[0]].shape)
                raise DataError(
                    f"{self.path}: stack[{name!r}] names column {wide[0]!r} of shape {shape}, not numbers [n]"
                )
            whole = torch.stack([columns[part].to(torch.float32) for part in names], 1)
            found[name] = self._normalized(name, whole) if name in self.normalize else whole
        return found

    def key_of(self, name: str, column: pa.ChunkedArray) -> torch.Tensor:
        """What rows are grouped by [n, ...]: its numbers, or the places of its names; -1 for rows that have none.

        Raises: DataError if it holds neither.
        """
        if name in self.categories:
            return _marked(decode_categories(column, self.categories[name], self.other.get(name)))
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return torch.from_numpy(codes(column).copy())
        if not is_supported(kind):
            raise DataError(
                f"{self.describe()}: column {name!r} holds {kind}; rows are grouped by one number or name each"
            )
        values = _marked(decode_numbers(column, (self.shapes or {}).get(name)))
        return self._reshaped(name, values) if name in (self.shapes or {}) else values

    def _accepts(self, name: str, kind: pa.DataType) -> bool:
        if name in self.images or name in self.audio:
            return is_encoded(kind)
        if self.per_word and name == self.label:
            return is_words(kind)
        if name in self.text:
            return is_text(kind) or (name == self.per_word and is_words(kind))
        if name in self.series:
            return is_series(kind)
        return is_named(kind) if name in self.categories else is_supported(kind)

    def _scaled(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels if self.scale is None else pixels.to(torch.float32).div_(self.scale)

    def _reshaped(self, name: str, values: torch.Tensor) -> torch.Tensor:
        shape, held = (self.shapes or {})[name], prod(values.shape[1:])
        if held != prod(shape):
            raise DataError(
                f"{self.path}: shapes[{name!r}]={shape} holds {prod(shape)} values, but an example has {held}"
            )
        if values.dtype == torch.uint8:
            values = self._scaled(values)
        return values.reshape(-1, *shape)

    def _normalized(self, name: str, values: torch.Tensor) -> torch.Tensor:
        mean, std = self.normalize[name]
        if not values.is_floating_point() or values.ndim < 2 or values.shape[1] != len(mean):
            raise DataError(
                f"{self.path}: normalize[{name!r}] has {len(mean)} channels, but the column is {values.dtype} of shape "
                f"{list(values.shape)}; it must be floats [n, {len(mean)}, ...]: check scale, shapes and images"
            )
        form = (1, len(mean), *(1 for _ in values.shape[2:]))
        return values.sub_(torch.tensor(mean).view(form)).div_(torch.tensor(std).view(form))  # a copy of our own


def _marked(decoded: Decoded) -> torch.Tensor:
    values = decoded.values.long() if decoded.values.dtype == torch.uint8 else decoded.values
    if decoded.bad:
        values[list(decoded.bad)] = -1
    return values


def _hint(schema: pa.Schema, refused: Sequence[str]) -> str:
    """What else can be done about columns that hold no numbers."""
    files = [name for name in refused if is_encoded(schema.field(name).type)]
    names = [name for name in refused if is_named(schema.field(name).type)]
    hints = [f"decode images with images={dict.fromkeys(files, 'rgb')}, WAV files with audio="] if files else []
    hints += [f"number names with categories={{{names[0]!r}: (...)}}, tokenize text with text="] if names else []
    return "".join(f", or {hint}" for hint in hints)
