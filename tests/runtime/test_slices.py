"""Vectors in slices: the sum of slices is the slice of the sum, to the bit; nothing but slices is left out."""

import math

import numpy as np
import pytest
import torch

import raycollab as rc
from raycollab.aggregation import Node, Sum, WeightedSum, root, terms_of, total_of
from raycollab.errors import ConfigError
from raycollab.experiment import Experiment
from raycollab.runtime.slices import Cut, cut_up, each_cut, places, put_together, squared_norms, sum_of_slices
from raycollab.runtime.wire import num_bytes, pack, unpack
from raycollab.types import Update

SIZE = 5000


def partial(seed, weight):
    generator = torch.Generator().manual_seed(seed)
    vectors = {"delta": torch.randn(SIZE, generator=generator), "buffers": torch.randn(3, generator=generator)}
    return WeightedSum.of(Update(f"agent-{seed}", weight, vectors, {"loss": 0.5}))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_vector_is_cut_into_neighbours(count):
    cut = places(SIZE, count)
    assert [place.start for place in cut] == [0, *(place.stop for place in cut[:-1])]
    assert cut[-1].stop == SIZE
    assert max(p.stop - p.start for p in cut) - min(p.stop - p.start for p in cut) <= 1


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_sums_of_slices_have_the_bits_of_the_sum(count):
    """Five blocks of which one is missing, in two shares; with weights that do not divide evenly."""
    present = [0, 1, 2, 4]
    nodes = [Node(0, index, partial(index, 0.1 + index)) for index in present]
    whole = total_of(nodes, present).mean()
    shares, told = [], []
    for number, share in enumerate((nodes[:2], nodes[2:])):
        packed = pack(list(share))
        sent, parts = cut_up(packed, count)

        def arrived(cut, number=number):
            cut.share = number

        each_cut(sent, arrived)
        told += unpack(list(sent))
        shares.append(parts)
        assert num_bytes(sent) == num_bytes(packed)
        assert all(len(part) == 2 for part in parts)  # two deltas; buffers of three elements stay where they are
    total = total_of(told, present)
    (sum,) = total.vectors["delta"].values()
    found = [sum_of_slices(terms_of(sum), [parts[place] for parts in shares]) for place in range(count)]
    mean = Sum(sum.weight, put_together(found), sum.times).over(sum.weight)
    assert torch.equal(mean, whole.vectors["delta"])
    assert root(total, present).blocks(present) == present


def test_what_stands_for_a_vector_knows_its_form():
    cut = Cut(1, np.zeros(7, np.float32))
    assert (cut.number, cut.shape, cut.dtype, cut.nbytes) == (1, (7,), torch.float32, 28)
    assert math.isnan(cut.norm)


def test_norms_of_slices_add_up():
    vector = np.arange(10, dtype=np.float32)
    parts = [[vector[place]] for place in places(10, 3)]
    assert sum(squared_norms(part)[0] for part in parts) == pytest.approx(285.0)
    assert math.isnan(squared_norms([np.array([np.nan], np.float32)])[0])
    assert math.isinf(squared_norms([np.array([np.inf], np.float32)])[0])


def experiment(rule=None, upload=None, **scaling):
    task = rc.ImageClassification(rc.models.MLP(64, 10), 10)
    agents = rc.Split(rc.data.Digits("train"), rc.IID(3), (rc.SGD(),))
    return Experiment(
        task,
        agents,
        (rule or rc.Mean(),),
        rc.data.Digits("test"),
        upload=upload,
        scaling=rc.ScalingConfig(**scaling),
    )


@pytest.mark.parametrize(
    ("rule", "upload", "why"),
    [
        (rc.Median(), None, "Median"),
        (rc.Mean(exact=True), None, ".*exact=True"),
        (rc.Mean(), rc.BFloat16(), "BFloat16"),
    ],
)
def test_slices_are_for_sums_of_whole_vectors(rule, upload, why):
    assert experiment(slices=2).resolved().session().slices == 2
    with pytest.raises(ConfigError, match=rf"ScalingConfig.slices=2: {why}.*set it to 0"):
        experiment(rule, upload, slices=2).resolved()


def test_slices_are_of_actors():
    with pytest.raises(ConfigError, match=r"ScalingConfig.slices=2: is for pool='ray'"):
        rc.ScalingConfig(pool="local", slices=2)
    with pytest.raises(ConfigError, match="slices=-1: must be >= 0"):
        rc.ScalingConfig(slices=-1)
