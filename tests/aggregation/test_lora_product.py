"""The mean of products: by hand, and beside the matrices that it never makes."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import raycollab as rc
from raycollab.aggregation import LoRAProduct, Mean, Median, PerGroup, add_up
from raycollab.errors import ConfigError, ModelError, UpdateError
from raycollab.runtime.wire import pack, unpack
from raycollab.spec import Entry, ParamSpec, Segments
from raycollab.types import Round, Update

from .support import randn

RANK, HEIGHT, WIDTH = 4, 7, 6


def spec(rank=RANK, layers=("a",), head=3):
    """Adapters of one rank, and a head."""
    shapes = [
        (f"{layer}.lora_{factor}.raycollab_adapter.weight", shape)
        for layer in layers
        for factor, shape in (("A", (rank, WIDTH)), ("B", (HEIGHT, rank)))
    ]
    entries, offset = [], 0
    for name, shape in [*shapes, *([("head.weight", (head,))] if head else [])]:
        entries.append(Entry(name, shape, "float32", offset))
        offset = entries[-1].stop
    return ParamSpec(tuple(entries), (), slices=True)


WHOLE = spec()
PARAMS = randn(WHOLE.num_params)


def update(index, part=WHOLE, *, whole=WHOLE, delta=None, weight=None):
    coverage = whole.coverage(part)
    delta = randn(part.num_params, seed=index) if delta is None else delta
    told = None if coverage.full else coverage
    return Update(f"agent-{index}", index + 1.0 if weight is None else weight, {"delta": delta}, coverage=told)


def merged(rule, updates, params=PARAMS):
    """The next parameters, and what the rule tells; partials cross the wire."""
    round = Round(1, 0, 0, {"params": params})
    total = add_up(unpack(pack(rule.collect(each, round))) for each in updates)
    rule.check(total)
    found, _ = rule.update(total, rule.init(params), params, seed=0)
    return params + found.vectors["delta"], found.scalars


def products(rule, params):
    """What each adapter adds, as whole matrices."""
    return [up @ down for up, down in (pair.of(params) for pair in rule.pairs)]


def ended(each, params=PARAMS):
    """All parameters of an agent: what it does not hold is as it was."""
    held = each.segments("delta") or Segments.all(len(params))
    return held.put(params, held.take(params) + each.vectors["delta"])


def mean_product(rule, updates, params=PARAMS):
    weights = [each.weight for each in updates]
    found = [products(rule, ended(each, params)) for each in updates]
    return [sum(w * p for w, p in zip(weights, of, strict=True)) / sum(weights) for of in zip(*found, strict=True)]


def best(matrix, rank):
    """The nearest matrix of a rank (Eckart and Young)."""
    up, values, down = torch.linalg.svd(matrix, full_matrices=False)
    return (up[:, :rank] * values[:rank]) @ down[:rank]


THREE = [update(0, spec(1)), update(1, spec(2)), update(2)]
ALIKE = [update(index) for index in range(3)]
close = {"atol": 1e-5, "rtol": 1e-4}


@pytest.mark.parametrize("updates", [THREE, ALIKE], ids=["ranks 1, 2, 4", "rank 4"])
def test_it_is_the_mean_of_products_cut_to_the_rank(updates):
    """And each prefix is the best of its rank, which is what an agent of that rank gets."""
    rule = LoRAProduct().bind(WHOLE)
    params, told = merged(rule, updates)
    (expected,) = mean_product(rule, updates)
    up, down = rule.pairs[0].of(params)
    for rank in range(1, RANK + 1):
        torch.testing.assert_close(up[:, :rank] @ down[:rank], best(expected, rank), **close)
    lost = 1 - best(expected, RANK).square().sum() / expected.square().sum()
    assert told == {"round/rank/a": 4.0, "round/energy_lost": pytest.approx(float(lost), abs=1e-6)}


def test_the_mean_of_factors_is_not():
    """Two agents with one product, b a = (-b) (-a): the mean of factors is nothing."""
    start = torch.zeros(WHOLE.num_params)
    one = update(0, weight=1.0)
    other = replace(one, agent="other", vectors={"delta": -one.vectors["delta"]})
    rule = LoRAProduct().bind(WHOLE)
    params, _ = merged(rule, [one, other], start)
    torch.testing.assert_close(products(rule, params), products(rule, one.vectors["delta"]), **close)
    naive = add_up(Mean().collect(each, Round(1, 0, 0, {})) for each in (one, other)).mean().vectors["delta"]
    assert torch.equal(products(rule, naive)[0], torch.zeros(HEIGHT, WIDTH))


def test_components_that_an_agent_does_not_hold_count_as_they_were():
    """The agent of rank 1 alone: components 2 to 4 are those of before."""
    rule = LoRAProduct().bind(WHOLE)
    params, _ = merged(rule, THREE[:1])
    before, own = rule.pairs[0].of(PARAMS), rule.pairs[0].of(ended(THREE[0]))
    expected = own[0][:, :1] @ own[1][:1] + before[0][:, 1:] @ before[1][1:]
    torch.testing.assert_close(products(rule, params)[0], expected, **close)


def test_rows_of_a_are_orthogonal_and_b_is_nothing_where_there_is_nothing():
    """Agents that have learned one component: the others have rows of A, without which they would never learn."""
    start = torch.zeros(WHOLE.num_params)
    rule = LoRAProduct().bind(WHOLE)
    rule.pairs[0].of(start)[1].copy_(randn(RANK, WIDTH))
    delta = torch.zeros(WHOLE.num_params)
    rule.pairs[0].of(delta)[0][:, 2] = randn(HEIGHT)
    params, told = merged(rule, [update(0, delta=delta), update(1, delta=delta)], start)
    up, down = rule.pairs[0].of(params)
    torch.testing.assert_close(down @ down.T, torch.eye(RANK) / 3, **close)
    assert torch.equal(up[:, 1:], torch.zeros(HEIGHT, RANK - 1))
    assert told["round/rank/a"] == 1.0
    torch.testing.assert_close(products(rule, params), products(rule, start + delta), **close)


def test_the_rest_is_merged_by_the_mean_of_who_holds_it():
    """Heads of agents 0 and 2 at weights 1 and 3; agent 1 brings its adapter alone."""
    rule = LoRAProduct().bind(WHOLE)
    some = [update(0), update(1, spec(2, head=0)), update(2)]
    params, _ = merged(rule, some)
    heads = [each.vectors["delta"][-3:] for each in (some[0], some[2])]
    torch.testing.assert_close(params[-3:], PARAMS[-3:] + (heads[0] + 3 * heads[1]) / 4)
    params, _ = merged(LoRAProduct(Mean("uniform")).bind(WHOLE), some)
    torch.testing.assert_close(params[-3:], PARAMS[-3:] + (heads[0] + heads[1]) / 2)


def test_uniform_weights_count_for_products_too():
    rule = LoRAProduct(Mean("uniform")).bind(WHOLE)
    params, _ = merged(rule, ALIKE)
    (expected,) = mean_product(rule, [replace(each, weight=1.0) for each in ALIKE])
    torch.testing.assert_close(products(rule, params)[0], best(expected, RANK), **close)


def test_agents_without_adapters_and_without_anything_else():
    """Adapters of which nobody brings anything add what they added."""
    head = ParamSpec((replace(WHOLE.params[-1], offset=0),), ())
    rule = LoRAProduct().bind(WHOLE)
    params, _ = merged(rule, [update(0, head)])
    torch.testing.assert_close(products(rule, params), products(rule, PARAMS), **close)
    torch.testing.assert_close(params[-3:], PARAMS[-3:] + randn(3))
    alone = spec(head=0)
    rule = LoRAProduct().bind(alone)
    both = [update(0, alone, whole=alone), update(1, spec(2, head=0), whole=alone)]
    params, _ = merged(rule, both, PARAMS[:-3])
    (expected,) = mean_product(rule, both, PARAMS[:-3])
    torch.testing.assert_close(products(rule, params)[0], best(expected, RANK), **close)


def test_agents_of_weight_zero_change_nothing():
    rule = LoRAProduct().bind(WHOLE)
    some = [*THREE, update(5, weight=0.0)]
    torch.testing.assert_close(merged(rule, some)[0], merged(rule, THREE)[0], **close)
    with pytest.raises(UpdateError, match="the weights of 1 updates sum to 0"):
        merged(rule, some[-1:])


def test_any_grouping_gives_the_same_bits():
    """Of adapters; the rest is a sum, up to the order of its additions."""
    alone, params = spec(head=0), PARAMS[:-3]
    rule = LoRAProduct().bind(alone)
    round = Round(1, 0, 0, {"params": params})
    parts = [spec(1 + index % 4, head=0) for index in range(6)]
    some = [rule.collect(update(index, part, whole=alone), round) for index, part in enumerate(parts)]
    whole = rule.update(add_up(some), {}, params, seed=0)[0].vectors["delta"]
    for cut in (1, 3, 5):
        grouped = add_up(some[:cut]) + add_up(some[cut:])
        assert torch.equal(rule.update(grouped, {}, params, seed=0)[0].vectors["delta"], whole)
    random.Random(0).shuffle(some)
    other = rule.update(add_up(some), {}, params, seed=0)[0].vectors["delta"]
    torch.testing.assert_close(products(rule, params + other), products(rule, params + whole), **close)


def test_laws():
    """Copies of an update are one of its weight, and equal agents that fail change nothing; of products."""
    rule = LoRAProduct().bind(WHOLE)
    copies = [*THREE, *(replace(THREE[0], agent=f"copy-{i}") for i in range(2))]
    heavy = [replace(THREE[0], weight=3.0), *THREE[1:]]
    torch.testing.assert_close(products(rule, merged(rule, copies)[0]), products(rule, merged(rule, heavy)[0]), **close)
    equal = [replace(ALIKE[0], agent=f"copy-{i}") for i in range(5)]
    for some in (equal, equal[:2]):
        torch.testing.assert_close(products(rule, merged(rule, some)[0]), products(rule, ended(equal[0])), **close)
    assert rule.laws == {"weights", "failure"}
    assert not torch.allclose(merged(rule, equal)[0], ended(equal[0]), **close)  # other factors of one product


def test_a_rule_of_their_own_for_other_parameters():
    rule = PerGroup({"*lora_*": LoRAProduct(), "*": Median()}).bind(WHOLE)
    params, told = merged(rule, ALIKE)
    alone, expected = merged(LoRAProduct().bind(WHOLE), ALIKE)
    assert torch.equal(params[:-3], alone[:-3])
    assert told == expected
    heads = torch.stack([each.vectors["delta"][-3:] for each in ALIKE])
    torch.testing.assert_close(params[-3:], PARAMS[-3:] + heads.median(0).values)
    assert rule.remakes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoRAProduct(Median()), r"LoRAProduct.rule=Median\(.*\): must be a Mean: put other parameters under"),
        (lambda: LoRAProduct(budget=0), "LoRAProduct.budget=0: must be >= 1 components in all layers, or null"),
        (lambda: LoRAProduct(budget=4).bind(WHOLE), "LoRAProduct.budget=4: must be below the 4 components"),
        (lambda: rc.SecureSum(LoRAProduct()), r"SecureSum.rule=LoRAProduct\(.*\): must merge a plain sum"),
        (lambda: rc.PerCluster(LoRAProduct()), r"PerCluster.rule=LoRAProduct\(.*\): must be an Aggregator over whole"),
        (
            lambda: rc.chain(LoRAProduct(), rc.Momentum(0.9)),
            r"LoRAProduct makes factors anew, of which a delta is no direction, and Momentum\(.*\) right of it",
        ),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_model_without_adapters_is_refused_by_name():
    dense = ParamSpec((Entry("head.weight", (3,), "float32", 0), Entry("head.bias", (2,), "float32", 3)), ())
    with pytest.raises(ModelError, match=r"LoRAProduct: no adapter of low rank is exchanged; there are: head"):
        LoRAProduct().bind(dense)


def test_one_factor_alone_is_refused():
    """Of the driver's model when the rule is bound, of an agent before round 1, of an update when it is collected."""
    rule = LoRAProduct().bind(WHOLE)
    lone = WHOLE.without([WHOLE.params[0].name])
    with pytest.raises(ModelError, match="is exchanged without the other factor"):
        LoRAProduct().bind(lone)
    with pytest.raises(ModelError, match=r"adapter 'a': 0 rows of A and 4 columns of B make no product"):
        rule.check_coverage(WHOLE.coverage(lone))
    with pytest.raises(UpdateError, match=r"adapter 'a': 0 rows of A and 4 columns of B make no product"):
        rule.collect(update(0, lone), Round(1, 0, 0, {"params": PARAMS}))
    for fine in (spec(2), spec(2, head=0), ParamSpec((replace(WHOLE.params[-1], offset=0),), ())):
        rule.check_coverage(WHOLE.coverage(fine))


def test_what_it_costs_goes_by_thin_factors():
    """A layer of 20,000 x 20,000 would be 1.6 GB."""
    wide = ParamSpec(
        (Entry("a.lora_A.x", (2, 20_000), "float32", 0), Entry("a.lora_B.x", (20_000, 2), "float32", 40_000)), ()
    )
    rule = LoRAProduct().bind(wide)
    params = randn(80_000)
    some = [update(index, wide, whole=wide) for index in range(3)]
    found, _ = merged(rule, some, params)
    up, down = rule.pairs[0].of(found)
    assert [one >= other for one, other in pairwise(up.norm(dim=0).tolist())] == [True]
    torch.testing.assert_close(down @ down.T, torch.eye(2) / 3, **close)
