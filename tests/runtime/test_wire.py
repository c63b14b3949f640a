import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from raycollab.aggregation import Stack, WeightedSum
from raycollab.codecs import Codec
from raycollab.runtime.wire import Encoded, num_bytes, pack, unpack
from raycollab.spec import Coverage, Segments
from raycollab.types import Round, Update


@dataclass(frozen=True)
class Halves(Codec):
    """Sends float16 and the seed."""

    def encode(self, vector, *, seed):
        return {"half": vector.numpy().astype(np.float16), "seed": np.array(seed)}

    def decode(self, arrays):
        return torch.from_numpy(arrays["half"].astype(np.float32))


ROUND = Round(3, 1, 2, {"params": torch.arange(3.0), "buffers": torch.zeros(0)}, {"participation": 0.5}, "print")


def test_a_round_comes_back_equal():
    packed = pack(ROUND)
    assert isinstance(packed.vectors["params"], np.ndarray)
    again = unpack(packed)
    assert again.vectors["params"].tolist() == [0, 1, 2]
    assert again.vectors["buffers"].shape == (0,)
    assert (again.index, again.scalars, again.fingerprint) == (3, {"participation": 0.5}, "print")


@pytest.mark.parametrize("kind", [WeightedSum, Stack])
def test_partials_come_back_equal(kind):
    coverage = Coverage(Segments(3, ((0, 1),)), Segments.all(0))
    partial = kind.of(Update("a", 2.0, {"delta": torch.ones(3)}, {"loss": 1.0})) + kind.of(
        Update("b", 1.0, {"delta": torch.ones(1)}, coverage=coverage)
    )
    assert repr(unpack(pickle.loads(pickle.dumps(pack(partial))))) == repr(partial)


def test_tensors_share_memory_with_the_arrays():
    vector = torch.arange(4.0)
    packed = pack({"v": vector})
    assert packed["v"].ctypes.data == vector.data_ptr()
    assert unpack(packed)["v"].data_ptr() == vector.data_ptr()


def test_read_only_arrays_are_taken_without_a_warning():
    array = np.arange(3.0, dtype=np.float32)
    array.flags.writeable = False
    assert unpack([array])[0].tolist() == [0, 1, 2]


def test_gradients_and_odd_layouts_are_left_behind():
    packed = pack([torch.ones(2, 3, requires_grad=True).t(), 3, "x", None])
    assert packed[0].shape == (3, 2)
    assert packed[0].flags["C_CONTIGUOUS"]
    assert packed[1:] == [3, "x", None]


def test_a_codec_encodes_long_float32_vectors_alone():
    tree = {"long": torch.ones(2000), "short": torch.ones(10), "double": torch.ones(2000, dtype=torch.float64)}
    packed = pack(tree, Halves(), seed=1)
    assert isinstance(packed["long"], Encoded)
    assert isinstance(packed["short"], np.ndarray)
    assert packed["double"].dtype == np.float64
    assert num_bytes(packed) == 2000 * 2 + 8 + 10 * 4 + 2000 * 8
    assert unpack(packed, Halves())["long"].tolist() == [1.0] * 2000


def test_a_codec_encodes_a_tensor_of_any_shape_as_a_vector():
    matrix = torch.arange(2000.0).view(40, 50).t()  # a rule may send a matrix, and one of an odd layout
    packed = pack([matrix], Halves())
    assert packed[0].arrays["half"].shape == (2000,)
    assert torch.equal(unpack(packed, Halves())[0], matrix)


def test_the_seed_decides_and_every_vector_has_its_own():
    def seeds(seed):
        packed = pack([torch.ones(2000), torch.ones(2000)], Halves(), seed=seed)
        return [int(each.arrays["seed"]) for each in packed]

    assert seeds(1) == seeds(1)
    assert len({*seeds(1), *seeds(2)}) == 4


def test_an_encoded_vector_without_a_codec():
    with pytest.raises(ValueError, match="an encoded vector arrived, but no codec is set"):
        unpack(pack(torch.ones(2000), Halves()))


def test_num_bytes_counts_arrays_and_nothing_else():
    assert num_bytes(pack({"a": torch.ones(3), "b": [torch.ones(2, dtype=torch.int64), 5, "text"]})) == 12 + 16
    assert num_bytes(pack(ROUND)) == 12
