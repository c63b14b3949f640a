import pickle

import pytest
import torch

from raycollab.errors import ModelError
from raycollab.spec import BUFFERS, DELTA, Coverage, Entry, ParamSpec, Segments


def test_segments_take_and_add_are_inverse_on_their_places():
    segments = Segments(6, ((4, 6), (0, 1)))
    vector = torch.arange(6.0)
    local = segments.take(vector)
    assert local.tolist() == [4, 5, 0]
    total = torch.ones(6)
    segments.add_into(total, local)
    assert total.tolist() == [1, 1, 1, 1, 5, 6]
    assert vector.tolist() == [0, 1, 2, 3, 4, 5]


def test_all_segments_are_a_view():
    vector = torch.arange(3.0)
    assert Segments.all(3).full
    assert Segments.all(3).take(vector) is vector


def test_a_part_is_not_full_and_is_copied():
    vector = torch.arange(3.0)
    part = Segments(3, ((0, 2), (2, 3)))
    assert not part.full  # everything, but in two runs: still right, only copied
    taken = part.take(vector)
    taken += 1
    assert vector.tolist() == [0, 1, 2]


def test_no_segments_take_nothing_of_the_same_dtype():
    nothing = Segments(3, ())
    assert not nothing.full
    assert nothing.take(torch.arange(3)).tolist() == []
    assert nothing.take(torch.arange(3)).dtype == torch.int64
    assert Segments.all(0).full


def test_coverage_by_name():
    coverage = Coverage(Segments.all(3), Segments(2, ((0, 1),)))
    assert coverage.of(BUFFERS) is coverage.buffers
    assert coverage.of(DELTA) is coverage.of("control") is coverage.params


def test_coverage_is_a_key():
    one, other = (Coverage(Segments(3, ((0, 1),)), Segments.all(0)) for _ in range(2))
    assert {one: 1}[other] == 1
    assert pickle.loads(pickle.dumps(one)) == other


def spec(**sizes):
    entries, offset = [], 0
    for name, size in sizes.items():
        entries.append(Entry(name, (size,), "float32", offset))
        offset += size
    return ParamSpec(tuple(entries), ())


@pytest.mark.parametrize(
    ("part", "ranges", "full"),
    [
        (spec(a=2, b=3, c=1), ((0, 6),), True),
        (spec(a=2, b=3), ((0, 5),), False),
        (spec(a=2, c=1), ((0, 2), (5, 6)), False),
        (spec(c=1, a=2), ((5, 6), (0, 2)), False),
        (spec(), (), False),
    ],
)
def test_coverage(part, ranges, full):
    coverage = spec(a=2, b=3, c=1).coverage(part)
    assert coverage.params == Segments(6, ranges)
    assert coverage.params.full == full
    assert coverage.buffers.full  # there are none
    assert coverage.params.take(torch.arange(6.0)).numel() == part.num_params


@pytest.mark.parametrize(
    ("part", "message"),
    [(spec(d=1), "'d' has shape .1,., the driver's model has no such parameter"), (spec(b=4), "has shape .3,.")],
)
def test_coverage_refuses(part, message):
    with pytest.raises(ModelError, match=message):
        spec(a=2, b=3, c=1).coverage(part)


def held(vector, segments, group):
    """What a local vector holds of a group, put where it belongs in the group."""
    here, there = segments.within(group)
    assert (here.size, there.size) == (segments.count, group.count)
    found = torch.zeros(group.count)
    there.add_into(found, here.take(segments.take(vector)))
    return found.tolist()


@pytest.mark.parametrize(
    ("ranges", "group", "expected"),
    [
        (((0, 8),), ((2, 4), (6, 8)), [3.0, 4.0, 7.0, 8.0]),
        (((6, 7), (1, 3)), ((2, 4), (6, 8)), [3.0, 0.0, 7.0, 0.0]),  # in another order than the model's
        (((0, 2), (3, 5)), ((0, 8),), [1.0, 2.0, 0.0, 4.0, 5.0, 0.0, 0.0, 0.0]),
        (((0, 2),), ((4, 8),), [0.0] * 4),
        ((), ((4, 8),), [0.0] * 4),
        (((0, 8),), (), []),
    ],
)
def test_what_a_part_holds_of_a_group(ranges, group, expected):
    assert held(torch.arange(1.0, 9.0), Segments(8, ranges), Segments(8, group)) == expected


def test_who_holds_all_of_a_group_is_full_in_it():
    """Also where neighbouring ranges of the group are apart in the model."""
    group = Segments(9, ((0, 2), (4, 6)))
    assert Segments(9, ((0, 6),)).within(group) == (Segments(6, ((0, 2), (4, 6))), Segments.all(4))
    assert not Segments(9, ((0, 5),)).within(group)[1].full


@pytest.mark.parametrize(
    ("shape", "whole"),
    [((2, 3), (4, 3)), ((2, 2), (4, 3)), ((4, 2), (4, 3)), ((2, 1, 3, 3), (4, 2, 3, 3)), ((1, 2, 2), (2, 2, 3)),
     ((), ()), ((3,), (5,)), ((1, 1), (1, 1)), ((2, 3, 2), (2, 4, 2))],
)  # fmt: skip
def test_a_smaller_tensor_is_the_first_rows_and_columns_of_the_whole(shape, whole):
    before, size = 3, torch.Size(whole).numel()
    full = ParamSpec((Entry("a", (before,), "float32", 0), Entry("b", whole, "float32", before)), (), slices=True)
    part = ParamSpec((Entry("b", shape, "float32", 0),), ())
    vector = torch.arange(float(before + size))
    expected = vector[before:].view(whole)[tuple(slice(0, length) for length in shape)]
    assert torch.equal(full.coverage(part).params.take(vector), expected.flatten())


def test_what_stands_side_by_side_is_one_run():
    full = ParamSpec((Entry("a", (4, 3, 2), "float32", 0),), (), slices=True)
    assert full.coverage(ParamSpec((Entry("a", (2, 3, 2), "float32", 0),), ())).params.ranges == ((0, 12),)
    assert full.coverage(ParamSpec((Entry("a", (2, 1, 2), "float32", 0),), ())).params.ranges == ((0, 2), (6, 8))


@pytest.mark.parametrize("shape", [(5, 3), (4, 4), (4,), (4, 3, 1)])
def test_what_is_larger_or_has_other_dimensions_is_refused(shape):
    full = ParamSpec((Entry("a", (4, 3), "float32", 0),), (), slices=True)
    with pytest.raises(ModelError, match=r"the driver's model has shape .4, 3.; with Exchange.slices=True. .* smaller"):
        full.coverage(ParamSpec((Entry("a", shape, "float32", 0),), ()))


def test_slices_have_to_be_asked_for():
    full = ParamSpec((Entry("a", (4, 3), "float32", 0),), ())
    with pytest.raises(ModelError, match=r"'a' has shape .2, 3., the driver's model has shape .4, 3.$"):
        full.coverage(ParamSpec((Entry("a", (2, 3), "float32", 0),), ()))
