"""Texts in a column to rows of tokens of one length."""

import numpy as np
import pyarrow as pa
import torch

from raycollab.data.decoded import Decoded
from raycollab.data.tokenizers import Tokenizer
from raycollab.errors import DataError

PAD = 0  # what short texts end in


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold texts."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def decode_texts(column: pa.ChunkedArray, tokenizer: Tokenizer, length: int) -> Decoded:
    """Tokenize a column.

    Args:
        column: One text a row.
        tokenizer: How text becomes tokens.
        length: Tokens that are kept of the beginning; shorter texts end in zeros.
    Shapes: n texts -> int64 [n, length]. Texts that are empty, or of which the tokenizer knows no token, are bad.
    """
    rows, bad = np.full((len(column), length), PAD, np.int64), dict[int, str]()
    for row, text in enumerate(column.to_pylist()):
        if text is None or not text.strip():
            bad[row] = f"is {'null' if text is None else 'empty text'}; fill it or drop the row before training"
            continue
        try:
            tokens = tokenizer.encode(text, "")[:length]
        except DataError as error:
            bad[row] = f"cannot be tokenized{error}"
        else:
            rows[row, : len(tokens)] = tokens
    return Decoded(torch.from_numpy(rows), bad)
