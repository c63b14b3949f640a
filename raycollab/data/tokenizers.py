"""How text becomes tokens. A value that the experiment fixes: no party may count its own characters."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from raycollab.config import Settings, require
from raycollab.errors import DataError
from raycollab.places import candidates, find_folder

_PRINTABLE = "\n" + "".join(map(chr, range(ord(" "), ord("~") + 1)))
_EXCERPT = 20


class Tokenizer(Settings, ABC):
    """Text to whole numbers 0 .. vocab_size - 1 and back."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Kinds of tokens: what a model of them needs."""

    @abstractmethod
    def encode(self, text: str, where: str) -> np.ndarray:
        """The tokens of a text, int32 [k].

        Raises: DataError that begins with `where` for what has no token.
        """

    @abstractmethod
    def decode(self, tokens: list[int]) -> str:
        """The text of tokens."""


@dataclass(frozen=True)
class Characters(Tokenizer):
    """One token a character: its place in an alphabet.

    Args:
        alphabet: The characters, each once; empty takes printable ASCII and the line feed, 96 in all.
        unknown: The one of them that stands for all others; empty refuses others.
    """

    alphabet: str = ""
    unknown: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "alphabet", self.alphabet or _PRINTABLE)
        twice = sorted({char for char in self.alphabet if self.alphabet.count(char) > 1})
        require(not twice, "Characters.alphabet", self.alphabet, f"holds {twice} more than once; name each once")
        good = not self.unknown or (len(self.unknown) == 1 and self.unknown in self.alphabet)
        require(good, "Characters.unknown", self.unknown, "must be one character of the alphabet, or empty")

    @property
    def vocab_size(self) -> int:
        """Length of the alphabet."""
        return len(self.alphabet)

    def encode(self, text: str, where: str) -> np.ndarray:
        """The place of each character."""
        points, table = _code_points(text), _table(self.alphabet)
        known = points < len(table)
        tokens = np.where(known, table[np.where(known, points, 0)], -1)
        strange = np.flatnonzero(tokens < 0)
        if len(strange) and not self.unknown:
            place = int(strange[0])
            before = text[max(0, place - _EXCERPT) : place]
            raise DataError(
                f"{where}: {text[place]!r} (U+{ord(text[place]):04X}) after {before!r} is none of the "
                f"{self.vocab_size} characters of the alphabet ({len(strange)} such places): add it to alphabet, set "
                f"unknown to the character that stands for such, or clean the text"
            )
        if len(strange):
            tokens[strange] = self.alphabet.index(self.unknown)
        return tokens.astype(np.int32)

    def decode(self, tokens: list[int]) -> str:
        """The characters at these places."""
        return "".join(self.alphabet[token] for token in tokens)


@dataclass(frozen=True)
class Bytes(Tokenizer):
    """One token a byte of the text in UTF-8: 256 kinds, any language, nothing unknown."""

    @property
    def vocab_size(self) -> int:
        """256."""
        return 256

    def encode(self, text: str, where: str) -> np.ndarray:
        """The bytes."""
        del where
        return np.frombuffer(text.encode(errors="surrogatepass"), np.uint8).astype(np.int32)

    def decode(self, tokens: list[int]) -> str:
        """The text; bytes that are no UTF-8 become U+FFFD."""
        return bytes(tokens).decode(errors="replace")


@dataclass(frozen=True)
class PretrainedTokenizer(Tokenizer):
    """A tokenizer of transformers from a folder of this machine; it adds no marks of beginning and end.

    Args:
        path: Folder with tokenizer.json; a relative one that does not exist is also looked for under $RAYCOLLAB_DATA.
    Raises: DataError where it is used, if there is no such folder or it holds no tokenizer.
    """

    path: str

    def __post_init__(self) -> None:
        require(bool(self.path), "PretrainedTokenizer.path", self.path, "must name a folder")

    @property
    def vocab_size(self) -> int:
        """Kinds of tokens, added ones with them."""
        return len(_loaded(self.path))

    def encode(self, text: str, where: str) -> np.ndarray:
        """What the tokenizer makes of the text."""
        del where
        ids = _loaded(self.path)(text, add_special_tokens=False, verbose=False).input_ids
        return np.array(ids, np.int32)

    def decode(self, tokens: list[int]) -> str:
        """What the tokenizer makes of the tokens."""
        return _loaded(self.path).decode(tokens)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.uint32)


@lru_cache(maxsize=8)
def _table(alphabet: str) -> np.ndarray:
    """Place in the alphabet by code point; -1 for what is not in it."""
    points = _code_points(alphabet)
    table = np.full(int(points.max()) + 1, -1, np.int32)
    table[points] = np.arange(len(points))
    return table


@lru_cache(maxsize=2)
def _loaded(path: str) -> Any:
    folder = find_folder(path)
    if folder is None:
        raise DataError(
            f"PretrainedTokenizer.path={path!r}: no folder there; tried: {', '.join(candidates(path))}: put the "
            f"tokenizer's folder, with tokenizer.json, at one of these on every node that reads text with it"
        )
    transformers = import_module("transformers")  # a second or two that sources of numbers need not pay
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{folder}: holds no tokenizer that transformers can load: {reason}") from error
