"""Trees: nested dict / list / tuple of tensors and plain values, taken apart for storage and put together again.

`flatten` gives the tensors by path, such as "a/0/b", and a skeleton of plain JSON in which tensors are references:

    {"w": tensor, "steps": 3, "pair": (1.0, nan)}
    -> {"w": tensor}, {"dict": {"w": {"tensor": "w"}, "steps": 3, "pair": {"tuple": [1.0, {"float": "nan"}]}}}

No class is ever named in a skeleton, so reading one runs nobody's code. `seal` makes a tree ready to be written.
"""

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch

Tree = Any
"""Nested dict[str, Tree] / list / tuple of Tensor, numpy array or scalar, int, float, bool, str and None."""

_ACCEPTED = "a tree holds dict[str, ...], list, tuple, Tensor, numpy array, int, float, bool, str and None"
_PLAIN = (str, int, float, bool, type(None))  # leaves that are met most
_FORMAT = 1  # of what `seal` makes
_RESERVED = "__metadata__"  # safetensors keeps this name for itself


def flatten(tree: Tree) -> tuple[dict[str, torch.Tensor], object]:
    """Return the tensors by path and the skeleton, from which `unflatten` makes an equal tree.

    Types survive exactly, tuple or list and int or float included, except that an OrderedDict becomes a dict and a
    Parameter a Tensor. Tensors are detached, not copied; numpy arrays are copied.

    Raises: TypeError naming the path and the type of a leaf, or of a dict's key, that is not accepted.
    """
    tensors: dict[str, torch.Tensor] = {}
    return tensors, _skeleton(tree, (), tensors)


def has_leaves(tree: Tree) -> bool:
    """Whether there is anything in a tree but None and empty branches."""
    if isinstance(tree, dict):
        return any(has_leaves(value) for value in tree.values())
    if isinstance(tree, list | tuple):
        return any(has_leaves(value) for value in tree)
    return tree is not None


def unflatten(tensors: dict[str, torch.Tensor], skeleton: object) -> Tree:
    """Put together what `flatten` took apart; arrays share their memory with the tensors.

    Raises: ValueError if the skeleton is not one of flatten's or names a tensor that is not there.
    """
    if isinstance(skeleton, list):
        return [unflatten(tensors, node) for node in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    if len(skeleton) != 1:
        raise ValueError(f"not a skeleton: a node with the keys {sorted(skeleton)}; expected exactly one, its kind")
    ((kind, node),) = skeleton.items()
    match kind:
        case "dict":
            return {key: unflatten(tensors, value) for key, value in node.items()}
        case "tuple":
            return tuple(unflatten(tensors, value) for value in node)
        case "float":
            return float(node)
        case "tensor" | "array" | "scalar":
            return _stored(tensors, kind, node)
    raise ValueError(f"not a skeleton: a node of kind {kind!r}")


def seal(tree: Tree, of: int | str) -> tuple[dict[str, torch.Tensor], str]:
    """Return the tree's tensors, ready for safetensors, and JSON with its skeleton and a sha256 over everything.

    The tensors are contiguous, on the CPU, and share no memory with one another.

    Args:
        tree: What `flatten` takes.
        of: Whose state it is, such as a round or an agent's name; `unseal` wants the same.
    """
    tensors, skeleton = flatten(tree)
    taken: set[int] = set()
    for path, tensor in tensors.items():
        dense = tensor.cpu().resolve_conj().resolve_neg().contiguous()
        memory = dense.untyped_storage().data_ptr()
        tensors[path] = dense.clone() if memory in taken else dense
        taken.add(memory)
    digest = _sha256(tensors, skeleton, of)
    return tensors, json.dumps({"format": _FORMAT, "of": of, "sha256": digest, "skeleton": skeleton}, allow_nan=False)


def unseal(tensors: dict[str, torch.Tensor], text: str, of: int | str) -> Tree:
    """Return the tree that was sealed.

    Raises: ValueError, TypeError or KeyError if anything is damaged, or if it was sealed as somebody else's.
    """
    head = json.loads(text)
    if (head["format"], head["of"]) != (_FORMAT, of):
        raise ValueError(f"format {head['format']} of {head['of']!r} found, format {_FORMAT} of {of!r} expected")
    if _sha256(tensors, head["skeleton"], of) != head["sha256"]:
        raise ValueError("the content does not have the sha256 that was written with it")
    return unflatten(tensors, head["skeleton"])


def map_leaves(fn: Callable[[Any], Any], tree: Any) -> Any:
    """Return the tree with fn applied to every leaf: whatever is no dict, list, tuple or instance of a dataclass.

    Dataclasses, frozen or not, are rebuilt as by dataclasses.replace: their checks run again, and fields with
    init=False are made anew by the class itself. One in which nothing changes stays the object that it is.
    """
    if type(tree) in _PLAIN or isinstance(tree, torch.Tensor):
        return fn(tree)
    if type(tree) in (dict, OrderedDict):
        return type(tree)((key, map_leaves(fn, value)) for key, value in tree.items())
    if type(tree) in (list, tuple):
        return type(tree)(map_leaves(fn, value) for value in tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a NamedTuple takes its fields one by one
        return type(tree)(*(map_leaves(fn, value) for value in tree))
    if is_dataclass(tree) and not isinstance(tree, type):
        before = {f.name: getattr(tree, f.name) for f in fields(tree) if f.init}
        after = {name: map_leaves(fn, value) for name, value in before.items()}
        return tree if all(after[name] is value for name, value in before.items()) else replace(tree, **after)
    return fn(tree)


def _sha256(tensors: dict[str, torch.Tensor], skeleton: object, of: int | str) -> str:
    digest = hashlib.sha256(json.dumps([_FORMAT, of, skeleton]).encode())
    for path, tensor in sorted(tensors.items()):
        digest.update(json.dumps([path, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _skeleton(node: Tree, path: tuple[str, ...], tensors: dict[str, torch.Tensor]) -> object:
    """The skeleton of a node; its tensors are added to `tensors`. Subclasses of plain types would not come back."""
    kind = type(node)
    if node is None or kind in (bool, int, str):
        return node
    if kind is float:
        return node if math.isfinite(node) else {"float": repr(node)}
    if kind in (dict, OrderedDict):
        return {"dict": {key: _skeleton(value, (*path, _part(key, path)), tensors) for key, value in node.items()}}
    if kind in (list, tuple):
        parts = [_skeleton(value, (*path, str(index)), tensors) for index, value in enumerate(node)]
        return parts if kind is list else {"tuple": parts}
    name = "/".join(path)
    if isinstance(node, torch.Tensor):
        tensors[name] = node.detach()
        return {"tensor": name}
    if kind is np.ndarray or isinstance(node, np.generic):
        tensors[name] = _from_numpy(node, path)
        return {"array" if kind is np.ndarray else "scalar": name}
    hint = "; save its fields as a dict" if is_dataclass(node) else ""
    raise TypeError(f"{_where(path)}: {kind.__module__}.{kind.__qualname__} is not accepted: {_ACCEPTED}{hint}")


def _part(key: object, path: tuple[str, ...]) -> str:
    """One part of a path, escaped as in a JSON pointer, so that two leaves never share a path."""
    if type(key) is not str:
        raise TypeError(f"{_where(path)}: key {key!r} is of type {type(key).__name__}: keys must be str")
    return "~2" if key == _RESERVED else key.replace("~", "~0").replace("/", "~1")


def _where(path: tuple[str, ...]) -> str:
    return f"leaf {'/'.join(path)!r}" if path else "the tree itself"


def _from_numpy(node: Any, path: tuple[str, ...]) -> torch.Tensor:
    try:
        return torch.from_numpy(np.array(node, order="C"))
    except (TypeError, ValueError) as error:  # text, objects, long doubles, foreign byte order
        raise TypeError(f"{_where(path)}: {type(node).__name__} of dtype {node.dtype}: {error}") from error


def _stored(tensors: dict[str, torch.Tensor], kind: str, name: object) -> Any:
    if not isinstance(name, str) or name not in tensors:
        raise ValueError(f"the skeleton names the tensor {name!r}, which is not among the {len(tensors)} stored ones")
    if kind == "tensor":
        return tensors[name]
    array = tensors[name].numpy()
    return array if kind == "array" else array[()]
