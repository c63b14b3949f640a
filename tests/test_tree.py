import json
import math
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest
import torch

from raycollab.tree import flatten, map_leaves, seal, unflatten, unseal


def round_trip(tree):
    tensors, skeleton = flatten(tree)
    return unflatten(tensors, json.loads(json.dumps(skeleton, allow_nan=False)))


def assert_same(a, b):
    """Equal in value and in type at every node; nan equals nan."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    elif isinstance(a, np.ndarray | np.generic):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert repr(a) == repr(b)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        [],
        (),
        None,
        {"a": {}, "b": [], "c": (), "d": [(), [{}]]},
        {"int": 1, "float": 1.0, "true": True, "one": 1, "none": None, "text": "ä\n\ud800", "big": 2**127 + 1},
        [math.inf, -math.inf, math.nan, -0.0, 0.1 + 0.2, 5e-324],
        {"tuple": (1, [2, (3,)]), "list": [1, (2, [3])]},
        {"dict": {"dict": 1}, "tensor": "w", "float": "nan", "tuple": [1]},
        torch.ones(2),
        {"bf16": torch.ones(3, dtype=torch.bfloat16), "scalar": torch.tensor(2.5), "empty": torch.empty(0, 3)},
        {"array": np.arange(3, dtype=np.uint16), "zero_d": np.array(1.5)},
        {"scalar": np.float32(0.1), "float64": np.float64(2), "bool": np.True_},
        {"": {"a": torch.zeros(1)}, "a": torch.ones(1)},
        {"a/b": torch.zeros(1), "a": {"b": torch.ones(1)}, "a~1b": torch.tensor([2.0])},
        {"__metadata__": torch.zeros(1), "~2": torch.ones(1)},
        np.random.default_rng(3).bit_generator.state,
    ],
)
def test_round_trip_is_exact(tree):
    assert_same(round_trip(tree), tree)


def test_paths_and_skeleton_by_hand():
    w = torch.ones(2)
    tensors, skeleton = flatten({"a": [{"b": w}], "pair": (1.0, math.nan)})
    assert list(tensors) == ["a/0/b"]
    inner = [{"dict": {"b": {"tensor": "a/0/b"}}}]
    assert skeleton == {"dict": {"a": inner, "pair": {"tuple": [1.0, {"float": "nan"}]}}}


def test_tensors_are_detached_not_copied_and_arrays_are_copied():
    w, array = torch.nn.Parameter(torch.ones(2)), np.zeros(2)
    array.flags.writeable = False
    tensors, _ = flatten(OrderedDict(w=w, array=array))
    assert tensors["w"].data_ptr() == w.data_ptr()
    assert not tensors["w"].requires_grad
    tensors["array"].add_(1)
    assert array.sum() == 0


class Point(NamedTuple):
    x: object
    y: object


@dataclass(frozen=True)
class Frozen:
    x: object
    rest: tuple
    twice: object = field(init=False, default=None)

    def __post_init__(self):
        object.__setattr__(self, "twice", (self.x, self.x))


@dataclass
class Plain:
    inner: Frozen
    names: list


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"a": [0, {"b": object()}]}, "'a/1/b'.*builtins.object"),
        ({"a": {1, 2}}, "'a'.*set"),
        ({"a": b"x"}, "'a'.*bytes"),
        ({"a": Counter()}, "'a'.*Counter"),
        ({"a": torch.Size([1])}, "'a'.*Size"),
        ({"a": Plain(None, [])}, "'a'.*Plain.*fields as a dict"),
        ({"a": np.array(["x"])}, "'a'.*ndarray of dtype <U1"),
        ({"a": np.zeros(2, dtype=">f4")}, "'a'.*dtype >f4"),
        ({"a": {0: 1}}, "'a'.*key 0 is of type int"),
        (object(), "the tree itself"),
    ],
)
def test_unknown_leaves_are_named(tree, words):
    with pytest.raises(TypeError, match=words):
        flatten(tree)


@pytest.mark.parametrize(
    ("skeleton", "words"),
    [
        ({"a": 1, "b": 2}, "exactly one"),
        ({"pickle": "x"}, "kind 'pickle'"),
        ({"tensor": "w"}, "'w'"),
        ({"tensor": []}, "not among"),
    ],
)
def test_a_foreign_skeleton_is_refused(skeleton, words):
    with pytest.raises(ValueError, match=words):
        unflatten({}, skeleton)


def test_map_leaves_reaches_dicts_lists_tuples_and_dataclasses():
    tree = {"plain": Plain(Frozen(torch.ones(2), (1, None)), ["n"]), "point": Point(2, [3.0])}
    seen = []
    result = map_leaves(lambda leaf: (seen.append(leaf), leaf * 2 if isinstance(leaf, torch.Tensor) else leaf)[1], tree)
    assert [leaf for leaf in seen if not isinstance(leaf, torch.Tensor)] == [1, None, "n", 2, 3.0]
    assert result["plain"].inner.x.tolist() == [2, 2]
    assert result["plain"].inner.twice[0] is result["plain"].inner.x
    assert result["point"] == Point(2, [3.0])
    assert tree["plain"].inner.x.tolist() == [1, 1]  # the argument is left as it was


def test_map_leaves_gives_fn_what_it_does_not_open():
    assert map_leaves(type, [Counter(), Plain]) == [Counter, type]


def sealed_tree():
    buffer = torch.arange(6.0)
    return {"a": buffer[:3], "b": buffer[3:], "all": buffer, "t": buffer.view(2, 3).t(), "half": buffer.bfloat16()}


def test_seal_round_trip_separates_shared_memory():
    tensors, text = seal(sealed_tree(), of="agent")
    pointers = {tensor.untyped_storage().data_ptr() for tensor in tensors.values()}
    assert len(pointers) == len(tensors)
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    assert_same(unseal(tensors, text, of="agent"), sealed_tree())


def test_seal_keeps_conjugated_values():
    tensors, _ = seal({"c": torch.tensor([1 + 2j]).conj()}, of=0)
    assert not tensors["c"].is_conj()
    assert tensors["c"].tolist() == [1 - 2j]


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors, text: (tensors | {"a": tensors["a"] + 1e-6}, text),
        lambda tensors, text: (tensors | {"half": tensors["half"].view(torch.float16)}, text),
        lambda tensors, text: (tensors | {"b": tensors["b"].reshape(1, 3)}, text),
        lambda tensors, text: (tensors | {"a": tensors["b"], "b": tensors["a"]}, text),
        lambda tensors, text: ({path: tensors[path] for path in ("a", "b")}, text),
        lambda tensors, text: (tensors, text.replace('"steps": 3', '"steps": 4')),
        lambda tensors, text: (tensors, text.replace('"of": 7', '"of": 8')),
        lambda tensors, text: (tensors, text.replace('"format": 1', '"format": 2')),
    ],
)
def test_a_broken_seal_is_found(damage):
    tensors, text = seal(sealed_tree() | {"steps": 3}, of=7)
    assert unseal(tensors, text, of=7)["steps"] == 3
    with pytest.raises(ValueError, match=r"sha256|format \d of \d found"):
        unseal(*damage(tensors, text), of=7)
