"""Which texts are alike: rows of tokens by what stands in them, hashed where they are; no text leaves."""

import torch
from torch import Tensor
from torch.nn import functional

from raycollab.data.token_rows import PAD
from raycollab.models.tokens import is_token

_BUCKETS = 1024
_FEW_KINDS = 300  # of tokens: bytes or characters of an alphabet, which say something in runs only
_BITS = 63
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # of Fibonacci hashing
_NONE = 2**63 - 1
_SHARED = 0.7  # of the runs that stand in one of two texts or in both
_BLOCK = 1024


def bags(tokens: Tensor) -> Tensor:
    """What stands how often in each text, whatever its order: tokens, or runs of three of few kinds.

    Rare ones weigh more (by the logarithm of the share of texts that have them), and each text has length 1.

    Shapes: rows of tokens that end in -1 [n, t] -> hashed to [n, 1024].
    """
    text = is_token(tokens)
    places = _runs(tokens, 3 if _few_kinds(tokens) else 1).mul_(_GOLDEN) >> (_BITS - 10) & (_BUCKETS - 1)
    counts = torch.zeros(len(tokens), _BUCKETS).scatter_add_(1, places, text.float())
    rarity = ((1 + len(tokens)) / (1 + (counts > 0).sum(0))).log()
    return functional.normalize(counts.log1p_().mul_(rarity))


def alike(tokens: Tensor, ones: Tensor, others: Tensor) -> Tensor:
    """Which pairs of texts share seven tenths of the runs of three tokens, or seven characters, of either: bool [p].

    Args:
        tokens: Rows of tokens that end in -1 [n, t].
        ones: Rows [p].
        others: The rows that they are compared with [p].
    Source: the resemblance of Broder, SEQUENCES 1997, section 2, of all runs and not of a sample.
    """
    runs = _runs(tokens, 7 if _few_kinds(tokens) else 3).masked_fill_(~is_token(tokens), _NONE).sort(1).values
    again = torch.zeros_like(runs, dtype=torch.bool)
    again[:, 1:] = runs[:, 1:] == runs[:, :-1]
    runs.masked_fill_(again, _NONE)
    sizes = (runs != _NONE).sum(1)
    found = []
    for one, other in zip(ones.split(_BLOCK), others.split(_BLOCK), strict=True):
        both = torch.cat([runs[one], runs[other]], 1).sort(1).values
        shared = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] != _NONE)).sum(1)
        found.append(shared >= _SHARED * (sizes[one] + sizes[other] - shared))
    return torch.cat(found)


def _few_kinds(tokens: Tensor) -> bool:
    return bool((tokens < _FEW_KINDS).all())


def _runs(tokens: Tensor, length: int) -> Tensor:
    """Each token and those behind it as one number [n, t]; behind the end there is padding."""
    longer = functional.pad(tokens.long() - PAD, (0, length - 1))
    runs = torch.zeros_like(tokens, dtype=torch.int64)
    for place in range(length):
        runs = (runs << _BITS // length) + longer[:, place : place + tokens.shape[1]]
    return runs
