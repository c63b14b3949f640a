"""Blocks added in the order of a tree: whoever adds some of them first changes no bit."""

import itertools

import pytest
import torch

from raycollab.aggregation import Mean, Node, PairwiseSum, QFedAvg, Stack, WeightedSum, total_of
from raycollab.spec import Coverage, Segments
from raycollab.types import Round, Update

SIZE = 300_001  # more than two slices, and no multiple of anything


def partials(count, kind=WeightedSum.of, size=SIZE):
    """One partial a block, some of them with a vector that the others lack."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for index in range(count):
        vectors = {"delta": torch.randn(size, generator=generator)}
        if index % 3 == 1:
            vectors["extra"] = torch.randn(size, generator=generator)
        part = Coverage(Segments(2 * size, ((0, size),)), Segments.all(0)) if index % 5 == 2 else None
        scalars = {"loss": 0.1 * index, "start_loss": 0.5 + index}
        made.append(kind(Update(f"a{index}", 1.5 + index, vectors, scalars, coverage=part)))
    return made


def collected(rule):
    return lambda update: rule.collect(update, Round(1, 0, 0, {}))


def cut(count, num_hosts):
    """Neighbouring blocks by host."""
    return [range(count * host // num_hosts, count * (host + 1) // num_hosts) for host in range(num_hosts)]


def summed(given, groups, order=1):
    """The total after each group has been added up somewhere else."""
    nodes = []
    for group in groups:
        some = PairwiseSum(range(len(given)))
        for block in list(group)[::order]:
            some.put(block, given[block])
        nodes += some.nodes()
    return total_of(nodes[::order], range(len(given)))


def bits(partial):
    if isinstance(partial, Stack):
        return [(update.agent, update.vectors["delta"].sum().item()) for update in partial.updates]
    vectors = {
        (name, segments): (sum.weight, getattr(sum, "value", sum.vector).numpy().tobytes())
        for name, sums in partial.vectors.items()
        for segments, sum in sums.items()
    }
    return partial.count, partial.weight, partial.scalars, vectors


@pytest.mark.parametrize("kind", [WeightedSum.of, Stack.of, collected(Mean(exact=True))], ids=("sum", "stack", "exact"))
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_any_cut_among_hosts_gives_the_same_bits(kind, count):
    whole = bits(summed(partials(count, kind), [range(count)]))
    for num_hosts, order in itertools.product(range(1, count + 1), (1, -1)):
        assert bits(summed(partials(count, kind), cut(count, num_hosts), order)) == whole


def test_any_assignment_of_blocks_gives_the_same_bits():
    """Also where hosts take blocks as they come, far from their neighbours."""
    given = partials(7, size=1000)
    whole = bits(summed(given, [range(7)]))
    for groups in ([[6, 0, 3], [5, 1], [2, 4]], [[1], [0, 2, 4, 6], [3, 5]], [[6], [5], [4], [3], [2], [1], [0]]):
        assert bits(summed(given, groups)) == whole


def test_a_rule_with_a_scale_of_its_own():
    given = partials(6, collected(QFedAvg(q=1.0, lr=0.1)), size=1000)
    whole = bits(summed(given, [range(6)]))
    assert all(bits(summed(given, cut(6, hosts))) == whole for hosts in range(2, 7))


def test_blocks_of_which_nothing_came_count_for_nothing():
    given = partials(6, size=1000)
    for lost in ([0], [1, 2], [0, 1, 2, 3], [5]):
        left = [None if index in lost else partial for index, partial in enumerate(given)]
        whole = bits(summed(left, [range(6)]))
        assert whole[0] == 6 - len(lost)
        for hosts in range(1, 7):
            assert bits(summed(left, cut(6, hosts))) == whole
            known = [group for group in cut(6, hosts) if not set(group) <= set(lost)]
            assert bits(summed(left, known)) == whole  # a host that never answered says nothing at all
    assert total_of([], range(6)) is None
    assert total_of([Node(0, 0, None)], [0]) is None


def test_a_block_that_was_never_there_is_one_of_which_nothing_came():
    given = partials(9, size=1000)
    for lost in ([0], [3, 4], [8], [1, 2, 3, 5, 8]):
        present = [index for index in range(9) if index not in lost]
        left = bits(summed([None if index in lost else partial for index, partial in enumerate(given)], [range(9)]))
        for num_hosts in range(1, len(present) + 1):
            nodes = []
            for group in cut(len(present), num_hosts):
                some = PairwiseSum(present)
                for place in group:
                    some.put(present[place], given[present[place]])
                nodes += some.nodes()
            assert bits(total_of(nodes, present)) == left
            assert sorted(block for node in nodes for block in node.blocks(present)) == present


def test_hosts_send_few_sums():
    """A run of neighbours is at most two sums a level; half of the blocks are one."""
    for first, behind, most in ((0, 64, 1), (0, 32, 1), (32, 64, 1), (1, 63, 10), (21, 42, 6)):
        some = PairwiseSum(range(64))
        for block in range(first, behind):
            some.put(block, Stack.of(Update("a", 1.0, {"delta": torch.zeros(1)})))
        assert len(some.nodes()) <= most
        assert sorted(b for node in some.nodes() for b in node.blocks(range(64))) == list(range(first, behind))


def test_sums_stay_on_the_device_that_they_came_from():
    """Seen on a device without memory: copying from one to another fails there as it does on a GPU."""
    parts = [WeightedSum.of(Update(name, 1.0, {"delta": torch.zeros(SIZE, device="meta")})) for name in "abc"]
    some = PairwiseSum(range(3))
    for block, partial in enumerate(parts):
        some.put(block, partial)
    assert total_of(some.nodes(), range(3)).mean().vectors["delta"].device.type == "meta"


def test_what_arrives_is_never_written_into():
    given = partials(5, size=1000)
    before = [partial.vectors["delta"][next(iter(partial.vectors["delta"]))].vector.clone() for partial in given]
    for groups in ([range(5)], cut(5, 3)):
        summed(given, groups)
    after = [partial.vectors["delta"][next(iter(partial.vectors["delta"]))].vector for partial in given]
    assert all(map(torch.equal, before, after))
    assert [len(partial.scalars) for partial in given] == [2] * 5
