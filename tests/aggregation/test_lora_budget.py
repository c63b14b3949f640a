"""Components of adapters that go to the layers that need them."""

import torch

from raycollab.aggregation import LoRAProduct

from .support import randn
from .test_lora_product import HEIGHT, WIDTH, merged, products, spec, update

TWO = spec(8, layers=("a", "b"), head=0)


def teach(rule, params, targets, rate=0.5, seed=0):
    """An agent's delta: gradient steps of both factors towards a matrix for each layer."""
    ended = params.clone()
    for _ in range(20):
        for pair, target in zip(rule.pairs, targets, strict=True):
            up, down = pair.of(ended)
            error = up @ down - target
            step = error @ down.T, up.T @ error
            up -= rate * step[0]
            down -= rate * step[1]
    return ended - params


def low_rank(rank, seed):
    """A matrix of a rank whose singular values are about one."""
    up, down = torch.linalg.qr(randn(HEIGHT, HEIGHT, seed=seed))[0], torch.linalg.qr(randn(WIDTH, WIDTH, seed=seed))[0]
    return up[:, :rank] @ torch.diag(torch.linspace(1.2, 0.8, rank)) @ down[:rank]


def test_a_budget_goes_to_the_layer_that_needs_it():
    """True updates of rank 1 and 5, and 6 components for both: they end with 1 and 5, and nearly there."""
    rule = LoRAProduct(budget=6).bind(TWO)
    targets = [low_rank(1, 1), low_rank(5, 2)]
    params = torch.zeros(TWO.num_params)
    for pair in rule.pairs:
        pair.of(params)[1].copy_(randn(8, WIDTH, seed=3) / 3)
    for _ in range(8):
        some = [update(i, TWO, whole=TWO, delta=teach(rule, params, targets) + 0.003 * randn(len(params), seed=i))
                for i in range(3)]  # fmt: skip
        params, told = merged(rule, some, params)
        assert told["round/rank/a"] + told["round/rank/b"] == 6
    assert (told["round/rank/a"], told["round/rank/b"]) == (1.0, 5.0)
    for found, target in zip(products(rule, params), targets, strict=True):
        assert torch.dist(found, target) < 0.1 * target.norm()


def test_a_component_that_was_cut_comes_back_when_it_grows():
    rule = LoRAProduct(budget=2).bind(spec(3, layers=("a", "b"), head=0))
    a, b = rule.pairs
    size = a.down.size + a.up.size + b.down.size + b.up.size
    whole = spec(3, layers=("a", "b"), head=0)

    def ranks(params, sizes):
        """One round of agents whose components are of these sizes, by layer."""
        moved = torch.zeros(size)
        for pair, values in zip((a, b), sizes, strict=True):
            up, down = pair.of(moved)
            up.copy_(torch.linalg.qr(randn(HEIGHT, 3))[0] * torch.tensor(values))
            down.copy_(torch.linalg.qr(randn(WIDTH, WIDTH, seed=1))[0][:3])
        params, told = merged(rule, [update(0, whole, whole=whole, delta=moved - params)], params)
        return params, [told[f"round/rank/{layer}"] for layer in "ab"]

    params, first = ranks(torch.zeros(size), ([5.0, 4.0, 1.0], [2.0, 1.0, 0.5]))
    assert first == [2.0, 0.0]
    up, down = b.of(params)
    assert torch.equal(up, torch.zeros_like(up))
    assert (down.norm(dim=1) > 0.5).all()  # from which it can learn again
    assert ranks(params, ([5.0, 1.0, 1.0], [3.0, 1.0, 0.5]))[1] == [1.0, 1.0]
