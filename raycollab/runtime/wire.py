"""What is on the wire: trees of vectors as read-only arrays, encoded by a codec where one is given.

Ray hands numpy arrays over without a copy, and copies torch tensors; so vectors cross as arrays.
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raycollab.aggregation import Node
from raycollab.codecs import Codec
from raycollab.rng import derive_seed
from raycollab.runtime.slices import Cut
from raycollab.tree import map_leaves
from raycollab.types import Round

_SMALL = 1024  # elements; shorter vectors are not worth encoding


class Encoded:
    """A tensor that a codec has encoded as a vector, and its shape."""

    def __init__(self, arrays: dict[str, np.ndarray], shape: tuple[int, ...]):
        self.arrays = arrays
        self.shape = shape


def pack(tree: Any, codec: Codec | None = None, *, seed: int = 0) -> Any:
    """Replace every tensor in a tree by an array, or by what the codec makes of it; tensors on a GPU are copied."""
    places = iter(range(2**31))

    def leaf(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        value = value.detach().cpu()
        if codec is not None and value.dtype == torch.float32 and value.numel() >= _SMALL:
            arrays = codec.encode(value.reshape(-1), seed=derive_seed(seed, "codec", next(places)))
            return Encoded(arrays, tuple(value.shape))
        return value.contiguous().numpy()

    return map_leaves(leaf, tree)


def unpack(tree: Any, codec: Codec | None = None) -> Any:
    """Turn what `pack` made into tensors again. They share memory with read-only arrays: never write into them."""

    def leaf(value: Any) -> Any:
        if isinstance(value, Encoded):
            if codec is None:
                raise ValueError("an encoded vector arrived, but no codec is set")
            return codec.decode(value.arrays).view(value.shape)
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else value

    with ignore_read_only():
        return map_leaves(leaf, tree)


@contextmanager
def ignore_read_only() -> Iterator[None]:
    """Keep torch from warning of tensors that share memory with read-only arrays."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        yield


def pack_vectors(round: Round, codec: Codec | None) -> Any:
    """A round's vectors as they are broadcast: the same whichever round they are for."""
    return pack(round.vectors, codec, seed=derive_seed(round.seed, "down", round.base_version))


def pack_nodes(nodes: Iterable[Node], codec: Codec | None, round: Round) -> tuple[Node, ...]:
    """Sums of blocks as they are sent back."""

    def packed(node: Node) -> Node:
        seed = round.seed_for("up", round.base_version, node.level, node.index)
        return replace(node, partial=pack(node.partial, codec, seed=seed))

    return tuple(map(packed, nodes))


def num_bytes(tree: Any) -> int:
    """Bytes of all tensors and arrays in a tree, packed or not, also of those that are elsewhere in slices."""
    total = 0

    def leaf(value: Any) -> Any:
        nonlocal total
        for array in value.arrays.values() if isinstance(value, Encoded) else (value,):
            total += array.nbytes if isinstance(array, np.ndarray | Tensor | Cut) else 0
        return value

    map_leaves(leaf, tree)
    return total
