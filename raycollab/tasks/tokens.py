"""Rows of tokens, as tasks give them to nets: which of them are text, and what is refused."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from raycollab.data.token_rows import PAD, UNLABELLED
from raycollab.errors import DataError, RowError
from raycollab.models.tokens import is_token
from raycollab.tasks.inputs import check_names

NET = "must be a recipe such as rc.models.Transformers('FOLDER', head={head!r})"


def widened(values: Tensor, width: int, fill: int) -> Tensor:
    """The rows with something behind them [b, width], so that batches can be joined."""
    return functional.pad(values, (0, width - values.shape[1]), value=fill)


def check_tokens(columns: Mapping[str, Tensor], name: str, where: str, vocab_size: int | None) -> None:
    """Raise DataError unless a column holds rows of tokens that the net knows, with padding only at their end."""
    check_names(columns, (name,), where)
    tokens = columns[name]
    if tokens.ndim != 2 or tokens.is_floating_point():
        raise DataError(
            f"{where}: column {name!r} holds {str(tokens.dtype).removeprefix('torch.')} of shape {list(tokens.shape)}; "
            f"give rows of tokens as whole numbers [n, length], as a source with text={{{name!r}: length}} reads them"
        )
    text = is_token(tokens)
    if vocab_size is not None and bool((tokens >= vocab_size).any()):
        row = int((tokens >= vocab_size).any(1).nonzero()[0])
        held = (
            f" of column {name!r} holds token {int(tokens[row].max())}, and the net knows "
            f"{vocab_size}: read the text with the net's own tokenizer, or give the net as many tokens"
        )
        raise RowError.of(where, row, held)
    bad = (tokens < PAD).any(1) | (text[:, 1:] & ~text[:, :-1]).any(1) | ~text.any(1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        what = f"holds {PAD} before its end, or less" if bool(text[row].any()) else "holds no token"
        held = (
            f" of column {name!r} {what} ({int(bad.sum())} such rows); short rows end in {PAD}, and "
            f"empty texts are left out"
        )
        raise RowError.of(where, row, held)


def labelled(targets: Tensor, which: Tensor) -> Tensor:
    """Targets where something is to be predicted, -100 elsewhere [b, t]."""
    return targets.masked_fill(~which, UNLABELLED)
