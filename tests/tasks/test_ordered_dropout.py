"""Ordered dropout: which widths are drawn, what a step changes, and what is told of each width."""

import pickle

import pytest
import torch
from torch.nn import functional

import raycollab as rc
from raycollab.errors import ConfigError, ModelError
from raycollab.models import GPT, MLP, Narrowed, Width
from raycollab.params import FlatModel
from raycollab.recipe import from_plain, to_plain
from raycollab.spec import leading
from raycollab.tasks import OrderedDropout

from ..contracts.support import Quadratic

NET = MLP(6, 3, (8,))
PLAIN = rc.Classification(NET, 3)
TASK = OrderedDropout(PLAIN, (0.25, 0.5, 1.0))
BATCH = {"features": torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), "label": torch.arange(12) % 3}


def drawn(task, draws=60):
    """Hidden channels that learned in each of several steps."""
    torch.manual_seed(0)
    model, seen = task.model(), []
    for _ in range(draws):
        model.zero_grad()
        task.loss(model, BATCH).backward()
        seen.append(int(model[1].weight.grad.abs().sum(1).gt(0).nonzero().max()) + 1)
    return seen


def test_each_step_learns_at_one_of_the_widths_equally_often():
    seen = drawn(TASK, 300)
    assert all(70 < sum(low < width <= high for width in seen) < 130 for low, high in ((0, 2), (2, 4), (4, 8)))


def test_an_agent_draws_among_what_it_holds():
    half = TASK.with_net(Width(0.5).of)
    assert half.held == (0.25, 0.5)
    assert max(drawn(half)) == 4
    assert TASK.with_net(Width(0.3).of).held == (0.25, 0.3)
    assert TASK.with_net(Width(0.1).of).held == (0.1,)


def test_the_loss_is_that_of_the_net_of_this_width():
    model = TASK.model()
    for width in (0.25, 0.5):
        part = NET.narrowed(width).build()
        for name, tensor in part.state_dict().items():
            tensor.copy_(leading(model.state_dict()[name], tensor.shape))
        torch.testing.assert_close(PLAIN.loss(TASK.at(model, width), BATCH), PLAIN.loss(part, BATCH))
    assert TASK.at(model, 1.0) is model


def test_the_seed_draws():
    model = TASK.model()

    def losses(seed):
        torch.manual_seed(seed)
        return [TASK.loss(model, BATCH).item() for _ in range(8)]

    assert losses(0) == losses(0)
    assert len(set(losses(0))) == 3


def test_smaller_widths_learn_from_the_full_one():
    """By hand: half of the full loss and half of the smaller one's, with its divergence from what the full one says."""
    task = OrderedDropout(PLAIN, (0.5,), distil=0.3)
    model = task.model()
    part = task.at(model, 0.5)
    taught, logits = model(BATCH["features"]).detach().softmax(1), part(BATCH["features"])
    divergence = (taught * (taught.log() - logits.log_softmax(1))).sum(1).mean()
    full = functional.cross_entropy(model(BATCH["features"]), BATCH["label"])
    expected = full / 2 + (0.7 * functional.cross_entropy(logits, BATCH["label"]) + 0.3 * divergence) / 2
    torch.manual_seed(1)
    found = {round(task.loss(model, BATCH).item(), 5) for _ in range(20)}
    assert found == {round(full.item(), 5), round(expected.item(), 5)}


def test_evaluations_tell_of_every_width():
    model = TASK.model().eval()
    metrics = TASK.evaluate(model, [BATCH]).compute()
    for width in (0.25, 0.5):
        right = TASK.at(model, width)(BATCH["features"]).argmax(1) == BATCH["label"]
        assert metrics[f"accuracy_of_width[{width:g}]"] == pytest.approx(right.float().mean().item())
        own = functional.cross_entropy(TASK.at(model, width)(BATCH["features"]), BATCH["label"]).item()
        assert metrics[f"loss_of_width[{width:g}]"] == pytest.approx(own, rel=1e-5)
    assert metrics["accuracy"] == PLAIN.evaluate(model, [BATCH]).compute()["accuracy"]


def test_what_is_approved_is_the_same_for_all_widths():
    specs = [FlatModel(task.model(), rc.Exchange(), whole=False).spec for task in (TASK, TASK.with_net(Width(0.5).of))]
    whole, half = (
        each.fingerprint(spec) for each, spec in zip((TASK, TASK.with_net(Width(0.5).of)), specs, strict=True)
    )
    assert whole.loss == half.loss == "cross_entropy at widths (0.25, 0.5, 1.0)"
    assert whole.metrics == half.metrics
    assert OrderedDropout(PLAIN, (0.5,), 0.3).fingerprint(specs[0]).loss.endswith("widths (0.5,), distilled 0.3")


def test_it_learns_by_itself_and_is_a_value():
    assert not TASK.tells_losses
    assert TASK.num_classes == 3
    assert pickle.loads(pickle.dumps(TASK)) == from_plain(to_plain(TASK)) == TASK
    assert TASK.with_net(Width(0.5).of) == OrderedDropout(rc.Classification(Narrowed(NET, 0.5, False), 3), TASK.widths)


class NoNet(Quadratic):
    """A task that makes its model without a recipe."""


def test_a_task_without_one_net():
    with pytest.raises(ConfigError, match=r"OrderedDropout.task=NoNet\(size=4\): must be a task with one net, such as"):
        OrderedDropout(NoNet())


@pytest.mark.parametrize("widths", [(), (0.0, 1.0), (0.5, 1.5), (0.5, 0.5)])
def test_refuses_widths(widths):
    with pytest.raises(ConfigError, match=r"OrderedDropout.widths=.*: must be different shares in \(0, 1\]"):
        OrderedDropout(PLAIN, widths)


def test_refuses():
    with pytest.raises(ConfigError, match=r"OrderedDropout.distil=2: must be in \[0, 1\]"):
        OrderedDropout(PLAIN, distil=2)
    with pytest.raises(ConfigError, match=r"OrderedDropout.task=3: must be a Task"):
        OrderedDropout(3)
    with pytest.raises(ModelError, match="GPT has no narrower nets inside"):
        OrderedDropout(rc.CausalLM(GPT(9), 9))


def test_agents_of_three_capacities_make_a_net_that_can_be_cut(tmp_path):
    """At every width the trained net is better than chance by far, and the smaller net is what was evaluated."""
    task = OrderedDropout(rc.ImageClassification(MLP(64, 10, (32,)), 10), (0.25, 0.5, 1.0))
    shards = rc.data.Digits("train").split(rc.IID(num_parts=3))
    agents = [
        rc.Agent(f"agent-{i}", shard, rc.SGD(lr=0.2, batch_size=16), holds=Width(width))
        for i, (shard, width) in enumerate(zip(shards, (1.0, 0.5, 0.25), strict=True))
    ]
    run, local = rc.RunConfig(num_rounds=12, dir=str(tmp_path), eval_every=12), rc.ScalingConfig(pool="local")
    test = rc.data.Digits("test")
    slices = rc.Exchange(slices=True)
    result = rc.fit(agents, rc.Mean(), test=test, task=task, exchange=slices, run=run, scaling=local)
    for width in (0.25, 0.5):
        assert result.metrics[f"accuracy_of_width[{width:g}]"] > 0.5
        part = result.model().part(Width(width))
        found = part.evaluate(test).compute()["accuracy"]
        assert found == pytest.approx(result.metrics[f"accuracy_of_width[{width:g}]"])
        assert sum(p.numel() for p in part.module.parameters()) == 75 * 32 * width + 10
