"""How text becomes tokens. A value that the experiment fixes: no party may count its own characters."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any
from zlib import crc32

import numpy as np

from raycollab.errors import DataError
from raycollab.places import candidates, find_folder, not_found
from raycollab.settings import Settings, require

_PRINTABLE = "\n" + "".join(map(chr, range(ord(" "), ord("~") + 1)))
_EXCERPT = 20
_WORD = re.compile(r"\w+|[^\w\s]")


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

    def encode_rows(self, texts: Sequence[str], length: int) -> list[np.ndarray | DataError]:
        """At most `length` tokens of each text by itself, with the marks of beginning and end if there are such.

        A text that has no tokens gives the error that says why.
        """
        return [self._row(text, length) for text in texts]

    def encode_words(self, texts: Sequence[Sequence[str]], length: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same for texts that are cut in words: the tokens, and the place of the word of each, -1 for marks.

        Raises: DataError if the tokenizer cannot tell where words are.
        """
        del texts, length
        raise DataError(
            f"{type(self).__name__} does not tell which word a token is of, which labels per word need: use "
            f"PretrainedTokenizer('FOLDER') or HashedWords()"
        )

    @property
    def mask_token(self) -> int:
        """The token that hides others; one more than there are, if the tokenizer has none of its own."""
        return self.vocab_size

    @property
    def marks(self) -> tuple[int, ...]:
        """Tokens that stand for no text, such as those of beginning and end."""
        return ()

    def _row(self, text: str, length: int) -> np.ndarray | DataError:
        try:
            return self.encode(text, "")[:length]
        except DataError as error:
            return error

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
class HashedWords(Tokenizer):
    """One token a word or mark of punctuation, its hash: no list of words, so nobody has to count any.

    Capital letters count as small ones. Words whose hashes are equal are one token, and no token leads back to a word.

    Args:
        size: Kinds of tokens.
    Source: the hashing trick, Weinberger et al., ICML 2009, arXiv 0902.2206, without its signs.
    """

    size: int = 8192

    def __post_init__(self) -> None:
        require(self.size >= 1, "HashedWords.size", self.size, "must be >= 1")

    @property
    def vocab_size(self) -> int:
        """The size."""
        return self.size

    def encode(self, text: str, where: str) -> np.ndarray:
        """The hash of each word."""
        del where
        words = _WORD.findall(text.lower())
        return np.array([crc32(word.encode(errors="surrogatepass")) % self.size for word in words], np.int32)

    def encode_words(self, texts: Sequence[Sequence[str]], length: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """The tokens of each word, and its place."""
        rows = []
        for words in texts:
            found = [self.encode(word, "") for word in words]
            places = np.repeat(np.arange(len(words)), [len(tokens) for tokens in found])
            rows.append((np.concatenate([np.zeros(0, np.int32), *found])[:length], places[:length]))
        return rows

    def decode(self, tokens: list[int]) -> str:
        """Refused: words cannot be had from their hashes.

        Raises: DataError.
        """
        raise DataError("HashedWords: no token leads back to a word; use another tokenizer where text is to be written")


@dataclass(frozen=True)
class PretrainedTokenizer(Tokenizer):
    """A tokenizer of transformers, such as that of a model; rows get its marks of beginning and end, windows do not.

    Args:
        path: Folder with tokenizer.json, or `package:NAME/FOLDER` inside an installed package; a relative one that does
            not exist is also looked for under $RAYCOLLAB_DATA. A name of the Hugging Face Hub is found in this
            machine's cache of it.
        download: Fetch a name of the Hub that is not in the cache.
    Raises: DataError where it is used, if it is not found or no tokenizer.
    """

    path: str
    download: bool = False

    def __post_init__(self) -> None:
        require(bool(self.path), "PretrainedTokenizer.path", self.path, "must name a folder, or a model of the Hub")

    @property
    def vocab_size(self) -> int:
        """Kinds of tokens, added ones with them."""
        return len(self._loaded)

    @property
    def mask_token(self) -> int:
        """Its own mask; one more than there are tokens if it has none."""
        own = self._loaded.mask_token_id
        return self.vocab_size if own is None else own

    @property
    def marks(self) -> tuple[int, ...]:
        """What it calls special tokens."""
        return tuple(self._loaded.all_special_ids)

    def encode(self, text: str, where: str) -> np.ndarray:
        """What the tokenizer makes of the text, without marks."""
        del where
        ids = self._loaded(text, add_special_tokens=False, verbose=False).input_ids
        return np.array(ids, np.int32)

    def encode_rows(self, texts: Sequence[str], length: int) -> list[np.ndarray | DataError]:
        """All texts at once, which the tokenizer works through in its own code; the mark of the end is kept."""
        rows = self._loaded(list(texts), **_cut(length)).input_ids if texts else []
        return [np.array(row, np.int32) for row in rows]

    def encode_words(self, texts: Sequence[Sequence[str]], length: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Tokens and the words they are of; only tokenizers with a tokenizer.json tell."""
        if not texts:
            return []
        if not self._loaded.is_fast:
            return super().encode_words(texts, length)
        found = self._loaded([list(words) for words in texts], is_split_into_words=True, **_cut(length))
        words = [[-1 if word is None else word for word in found.word_ids(row)] for row in range(len(texts))]
        rows = zip(found.input_ids, words, strict=True)
        return [(np.array(ids, np.int32), np.array(places, np.int64)) for ids, places in rows]

    def decode(self, tokens: list[int]) -> str:
        """What the tokenizer makes of the tokens."""
        return str(self._loaded.decode(tokens))

    @property
    def _loaded(self) -> Any:
        return _load(self.path, self.download)


def _cut(length: int) -> dict[str, Any]:
    return {"truncation": True, "max_length": length, "verbose": False}


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
def _load(path: str, download: bool) -> Any:
    folder = find_folder(path)
    transformers = import_module("transformers")  # a second or two that sources of numbers need not pay
    try:
        return transformers.AutoTokenizer.from_pretrained(folder or path, local_files_only=not download)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        if folder is not None:
            raise DataError(f"{folder}: holds no tokenizer that transformers can load: {reason}") from error
        where = not_found(path, "the tokenizer's folder, with tokenizer.json,")
        if candidates(path):  # and not a package, which is no name of the Hub
            remedy = ", or set download=True where the Hub can be reached"
            where = f"not had from the Hub: {reason}" if download else f"{where}{remedy}"
        raise DataError(f"PretrainedTokenizer.path={path!r}: {where}") from error
