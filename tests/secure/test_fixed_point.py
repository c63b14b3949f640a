"""Numbers as residues: what the range is, and that no sum leaves it."""

from dataclasses import replace

import pytest
import torch

from raycollab.aggregation import Sum, WeightedSum
from raycollab.errors import UpdateError
from raycollab.secure import Form, Residues

FORM = Form(32, 2.0, 8.0, 10, (("delta", 4),), ("loss",), (1, 0, 0))


def sums(values, weight=1.0, loss=0.5):
    vector = torch.tensor(values)
    return WeightedSum(1, weight, {"delta": {None: Sum(weight, vector, weight)}}, {"loss": (weight, weight * loss)})


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("num_agents", [3, 10, 1000, 2**20 - 1])
def test_the_sum_of_all_fits_the_ring(bits, num_agents):
    """By construction: as many agents as there may be, each at the largest number it can write."""
    form = replace(FORM, bits=bits, num_agents=num_agents)
    assert num_agents * form.limit <= 2 ** (bits - 1) - 1
    assert float(form.limit) == form.limit  # so that clamping to it as a float64 cannot exceed it
    extreme = form.encode(sums([1e30, -1e30, 2.0, -2.0], weight=8.0), "a")
    assert extreme.body.tolist() == [form.limit, -form.limit, form.limit, -form.limit]


def test_an_element_is_off_by_half_a_unit_at_most():
    values = [0.3, -1.999, 1e-9, 2.0]
    opened, count, clipped = FORM.decode(FORM.encode(sums(values, weight=3.0), "a"))
    unit = 1 / FORM.scale
    assert unit == pytest.approx(10 * 2.0 * 8.0 / 2**31)
    wanted = 3.0 * torch.tensor(values)
    torch.testing.assert_close(opened.vectors["delta"][None].vector, wanted, rtol=1e-7, atol=0.5001 * unit)
    assert (count, clipped, opened.weight) == (1, 0, 3.0)
    assert opened.scalars == {"loss": (3.0, 1.5)}


def test_what_is_too_large_is_cut_and_counted():
    opened, _, clipped = FORM.decode(FORM.encode(sums([5.0, -5.0, 1.0, 2.0], weight=2.0), "a"))
    assert clipped == 2
    torch.testing.assert_close(opened.vectors["delta"][None].vector, torch.tensor([4.0, -4.0, 2.0, 4.0]))


def test_sums_are_exact_whatever_the_order():
    """Ten agents, each an encoded vector: any order gives the bits, and the sum is the one of whole numbers."""
    generator = torch.Generator().manual_seed(0)
    each = [FORM.encode(sums((torch.rand(4, generator=generator) * 4 - 2).tolist(), 8.0), "a") for _ in range(10)]
    found = []
    for order in (range(10), reversed(range(10))):
        total = Residues(torch.zeros(4, dtype=torch.int32), (0,) * len(each[0].head))
        for place in order:
            total.add(each[place])
        found.append(total)
    whole = torch.stack([one.body.long() for one in each]).sum(0)
    assert torch.equal(found[0].body.long(), whole)
    assert torch.equal(found[0].body, found[1].body)
    assert found[0].head == found[1].head


def test_a_weight_or_a_number_that_is_too_large_is_refused():
    with pytest.raises(
        UpdateError, match="agent 'a' has weight 9, and this round's secure sum takes 0 to 8: set SecureSum"
    ):
        FORM.encode(sums([0.0] * 4, weight=9.0), "a")
    with pytest.raises(UpdateError, match="too large for a secure sum of 10 agents"):
        FORM.encode(sums([0.0] * 4, loss=1e30), "a")


def test_an_agent_of_no_weight_adds_nothing():
    opened, count, _ = FORM.decode(FORM.encode(sums([1.0, 2.0, 3.0, 4.0], weight=0.0), "a"))
    assert opened.vectors["delta"][None].vector.tolist() == [0.0] * 4
    assert (count, opened.weight) == (1, 0.0)
