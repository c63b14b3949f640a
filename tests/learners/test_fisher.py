from dataclasses import replace

import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.learners import REPORTED, SGD, Fisher, Scaffold
from raycollab.types import Round

from .conftest import TASK, build

INNER = SGD(lr=0.1, momentum=0.9, keep_momentum=True, batch_size=6)


def squared_gradients(params, examples):
    """Mean over examples of the squared gradient of an ordinary module's loss."""
    module = build()
    torch.nn.utils.vector_to_parameters(params.clone(), module.parameters())
    rows = []
    for example in examples:
        module.zero_grad()
        TASK.loss(module, example).backward()
        rows.append(torch.cat([p.grad.reshape(-1) for p in module.parameters()]) ** 2)
    return torch.stack(rows).mean(0)


def test_it_is_the_mean_square_of_single_gradients_where_the_learner_ended(bench):
    """All 20 examples. The known-bad diagonals are that at the start, and the square of the mean gradient."""
    update, _ = Fisher(INNER, num_examples=100).update(bench.problem, bench.params, {}, bench.round)
    end = bench.params + update.vectors["delta"]
    columns = bench.shard.columns()
    singles = [{name: column[i : i + 1] for name, column in columns.items()} for i in range(20)]
    expected = squared_gradients(end, singles)
    torch.testing.assert_close(update.vectors["fisher"], expected, rtol=1e-4, atol=1e-8)
    for bad in (squared_gradients(bench.params, singles), squared_gradients(end, [columns])):
        assert not torch.allclose(bad, expected, rtol=0.05)


def test_fewer_examples_are_drawn_anew_in_each_round(bench):
    learner = Fisher(INNER, num_examples=3)
    first, again, later = (
        learner.update(bench.problem, bench.params, {}, replace(bench.round, index=index))[0] for index in (1, 1, 2)
    )
    assert torch.equal(first.vectors["fisher"], again.vectors["fisher"])
    drawn = list(bench.problem.batches(bench.round, batch_size=1, epochs=1, steps=3))
    expected = squared_gradients(bench.params + first.vectors["delta"], drawn)
    torch.testing.assert_close(first.vectors["fisher"], expected, rtol=1e-4, atol=1e-8)
    assert not torch.allclose(first.vectors["fisher"], later.vectors["fisher"])


def test_the_learner_does_not_notice(bench):
    plain, kept = INNER.update(bench.problem, bench.params, {}, bench.round)
    update, also_kept = Fisher(INNER).update(bench.problem, bench.params, {}, bench.round)
    assert torch.equal(plain.vectors["delta"], update.vectors["delta"])
    assert torch.equal(kept["velocity"][0], also_kept["velocity"][0])
    assert plain.scalars == update.scalars
    assert bench.model.module.training


def test_private_parameters_are_left_out_and_stay_as_they_were_trained(private_head):
    plain, _ = INNER.update(private_head.problem, private_head.params, {}, private_head.round)
    trained = private_head.model.private()
    private_head.model.load_private(None)
    update, _ = Fisher(INNER).update(private_head.problem, private_head.params, {}, private_head.round)
    assert update.vectors["fisher"].shape == private_head.params.shape
    assert torch.equal(plain.vectors["delta"], update.vectors["delta"])
    assert all(torch.equal(value, trained[name]) for name, value in private_head.model.private().items())


def test_it_asks_for_and_sends_what_its_learner_does(bench):
    both = Fisher(Scaffold(SGD(batch_size=6)))
    assert both.needs == ("control",)
    assert both.sends == (*REPORTED, "control", "fisher")
    zero = torch.zeros_like(bench.params)
    told = Round(1, 7, 0, {**bench.round.vectors, "control": zero}, {"participation": 1.0})
    update, state = both.update(bench.problem, bench.params, both.init(bench.params), told)
    assert {"delta", "control", "fisher"} <= set(update.vectors)
    assert set(state) == {"control", "learner"}


def test_no_example_is_refused():
    with pytest.raises(ConfigError, match=r"Fisher\.num_examples=0: must be >= 1"):
        Fisher(SGD(), num_examples=0)
