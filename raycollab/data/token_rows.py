"""Texts in a column to rows of tokens of one length, and labels of their words to labels of these tokens."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from raycollab.data.arrow import decode_numbers
from raycollab.data.categories import decode_categories
from raycollab.data.decoded import Decoded
from raycollab.data.tokenizers import Tokenizer
from raycollab.errors import DataError

PAD = -1  # what short texts end in: no tokenizer has such a token, and many have a 0 that means something
UNLABELLED = -100  # of tokens that nothing is to be said about: torch's ignore_index


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold texts."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_words(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold texts that are cut in words, or what is said of each word."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def decode_texts(column: pa.ChunkedArray, tokenizer: Tokenizer, length: int) -> Decoded:
    """Tokenize a column, all of it at once.

    Args:
        column: One text a row.
        tokenizer: How text becomes tokens.
        length: Tokens that are kept of the beginning; shorter texts end in -1, which is no token.
    Shapes: n texts -> int64 [n, length]. Texts that are empty, or of which the tokenizer knows no token, are bad.
    """
    texts = column.to_pylist()
    bad = _empty(texts, lambda text: text.strip())
    good = [row for row in range(len(texts)) if row not in bad]
    rows = np.full((len(texts), length), PAD, np.int64)
    for row, tokens in zip(good, tokenizer.encode_rows([texts[row] for row in good], length), strict=True):
        if isinstance(tokens, DataError):
            bad[row] = f"cannot be tokenized{tokens}"
        elif not len(tokens):
            bad[row] = "has no token; drop the row before training"
        else:
            rows[row, : len(tokens)] = tokens
    return Decoded(torch.from_numpy(rows), bad)


def decode_words(
    texts: pa.ChunkedArray,
    labels: pa.ChunkedArray | None,
    tokenizer: Tokenizer,
    length: int,
    names: tuple[str, ...] | None,
) -> tuple[Decoded, Decoded]:
    """Tokenize texts whose words have a label each: the first token of a word gets it, all others get -100.

    Args:
        texts: Lists of words, or texts that are cut in words at white space.
        labels: Lists of as many labels: whole numbers, or names if `names` says which; None if there are none.
        tokenizer: One that tells which word a token is of.
        length: Tokens that are kept of the beginning.
        names: Names of the labels in the order of their numbers; None for labels that are numbers.
    Shapes: n texts -> tokens int64 [n, length] that end in -1, labels int64 [n, length].
    Source: the first token of a word speaks for it as in Devlin et al., NAACL 2019, section 5.3.
    """
    words = [text.split() if isinstance(text, str) else text for text in texts.to_pylist()]
    bad = _empty(words, lambda row: row and all(word and word.strip() for word in row))
    said, wrong = ([], {}) if labels is None else _labels(labels, names)
    for row, own in enumerate(said):
        if row not in bad and len(own) != len(words[row]):
            wrong[row] = f"has {len(own)} labels for {len(words[row])} words; give each word one"
    good = [row for row in range(len(words)) if row not in bad and row not in wrong]
    tokens = np.full((len(words), length), PAD, np.int64)
    found = np.full((len(words), length), UNLABELLED, np.int64)
    for row, (ids, places) in zip(good, tokenizer.encode_words([words[row] for row in good], length), strict=True):
        tokens[row, : len(ids)] = ids
        first = np.flatnonzero((places >= 0) & (np.diff(places, prepend=-1) != 0))
        if said:
            found[row, first] = said[row][places[first]]
    return Decoded(torch.from_numpy(tokens), bad), Decoded(torch.from_numpy(found), wrong)


def _empty(texts: Sequence[Any], holds: Callable[[Any], Any]) -> dict[int, str]:
    """What is wrong with texts that are not there."""
    bad = [row for row, text in enumerate(texts) if not (text and holds(text))]
    what = {row: "null" if texts[row] is None else "empty text" for row in bad}
    return {row: f"is {what[row]}; fill it or drop the row before training" for row in bad}


def _labels(column: pa.ChunkedArray, names: tuple[str, ...] | None) -> tuple[list[np.ndarray], dict[int, str]]:
    """The labels of each row [k], none where it is null, and what is wrong with rows by their place."""
    lists = column.combine_chunks()
    flat = pa.chunked_array([lists.flatten()])
    decoded = decode_numbers(flat) if names is None else decode_categories(flat, names)
    ends = np.cumsum(pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False))
    rows = np.split(decoded.values.numpy(), ends)[:-1]
    bad = dict[int, str]()
    for place, reason in sorted(decoded.bad.items()):
        bad.setdefault(int(np.searchsorted(ends, place, side="right")), f"has a label that {reason}")
    return rows, bad
