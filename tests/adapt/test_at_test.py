"""Adaptation to unlabelled examples."""

import copy

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.adapt import Adapted, BatchStatistics, Tent
from raycollab.adapt.batch_norm import norm_layers, refresh
from raycollab.deploy import TrainedModel
from raycollab.errors import ConfigError, ModelError
from raycollab.learners import SGD
from raycollab.models import MLP, Module
from raycollab.tasks import Classification

from .conftest import TASK, Bench, rows

METHODS = [BatchStatistics(), BatchStatistics(prior=0.0), Tent(), Tent(steps=2, lr=1e-2)]
each = pytest.mark.parametrize("method", METHODS, ids=repr)


@pytest.fixture(scope="module")
def trained():
    """A net that knows its rows, in evaluation mode."""
    bench = Bench()
    bench.steps(SGD(lr=0.1, epochs=5, batch_size=16), 6)
    bench.model.load(bench.vectors["params"], bench.vectors["buffers"])
    return TrainedModel(copy.deepcopy(bench.model.module).eval(), TASK)


def bits(module):
    return [tensor.clone() for tensor in module.state_dict().values()]


def error(model, columns, adapt=None):
    wrong = model.predict({"features": columns["features"]}, adapt=adapt)["prediction"] != columns["label"]
    return float(wrong.float().mean())


@each
def test_it_undoes_a_gain_and_an_offset(trained, method):
    """Each input has another offset: the net knows none of them; within a batch they differ as before."""
    moved = rows(192, seed=5)
    moved["features"] = moved["features"] * 1.5 + torch.tensor([6.0, -6.0, 3.0, 0.0])
    assert error(trained, moved) > 0.5
    assert error(trained, moved, method) < 0.1


@each
def test_the_model_that_is_given_stays_as_it_is(trained, method):
    before, flags = bits(trained.module), [p.requires_grad for p in trained.module.parameters()]
    trained.predict(rows(64, shift=3.0), adapt=method)
    assert all(map(torch.equal, before, bits(trained.module)))
    assert [p.requires_grad for p in trained.module.parameters()] == flags
    assert not trained.module.training


@each
def test_labels_are_never_looked_at(trained, method):
    right, wrong = rows(64, shift=1.0), rows(64, shift=1.0, turn=1)
    one, other = (trained.predict(columns, adapt=method)["probability"] for columns in (right, wrong))
    assert torch.equal(one, other)


@each
def test_too_small_a_batch_is_predicted_with_the_model_as_it_is(trained, method):
    columns = rows(10, shift=3.0)
    for name, values in trained.predict(columns).items():
        assert torch.equal(values, trained.predict(columns, adapt=method)[name])


def test_every_row_is_predicted_once_and_in_order(trained):
    """450 rows: batches of 200, 200 and 50."""
    assert len(trained.predict(rows(450), adapt=BatchStatistics())["prediction"]) == 450
    assert error(trained, rows(450), BatchStatistics()) < 0.05


def test_evaluation_is_the_same_as_prediction(trained):
    moved = rows(192, seed=5, shift=4.0)
    accuracy = trained.evaluate(rc.data.Arrays(moved), adapt=Tent()).compute()["accuracy"]
    assert accuracy == pytest.approx(1 - error(trained, moved, Tent()))
    assert trained.evaluate(rc.data.Arrays(moved)).compute()["accuracy"] == pytest.approx(1 - error(trained, moved))


def test_a_task_that_is_scored_after_adaptation(trained):
    moved = rows(192, seed=5, shift=4.0)
    task = Adapted(TASK, BatchStatistics())
    before = bits(trained.module)
    accuracy = task.evaluate(trained.module, [moved]).compute()["accuracy"]
    assert accuracy == pytest.approx(1 - error(trained, moved, BatchStatistics()))
    assert all(map(torch.equal, before, bits(trained.module)))
    assert task.primary == TASK.primary
    assert task.num_classes == 3


def test_batch_statistics_by_hand():
    """A batch of 0 and 2 has mean 1 and sample variance 2; two examples of prior 6 count a quarter."""
    net = nn.Sequential(nn.BatchNorm1d(1, affine=False))
    task = Classification(Module(lambda: net, {}), 2)
    state = BatchStatistics(prior=6.0, min_batch=2).begin(net)
    with pytest.raises(ModelError, match="the model's output has shape"):  # one number is no class: the layer has run
        BatchStatistics(prior=6.0).step(task, net, {"features": torch.tensor([[0.0], [2.0]])}, state)
    refresh(net, norm_layers(net, "test").values(), [torch.tensor([[0.0], [2.0]])], net)
    assert net[0].running_mean.item() == 1.0
    assert net[0].running_var.item() == 2.0


def test_tent_changes_scale_and_shift_alone_and_becomes_surer(trained):
    module = copy.deepcopy(trained.module)
    method = Tent(lr=1e-2, most=1.0)
    state = method.begin(module)
    before = {name: tensor.clone() for name, tensor in module.named_parameters()}
    entropies = []
    for _ in range(10):
        state = method.step(TASK, module, rows(64, seed=5, shift=2.0), state)
        entropies.append(state["entropy"])
    changed = {name for name, tensor in module.named_parameters() if not torch.equal(tensor, before[name])}
    assert changed == {"1.weight", "1.bias"}
    assert entropies[-1] < entropies[0]


def test_tent_is_set_back_once_it_is_too_sure(trained):
    """A mean entropy under the least share: scale and shift are the trained ones again."""
    module = copy.deepcopy(trained.module)
    method = Tent(lr=0.1, most=1.0, least=0.99)
    before = {name: tensor.clone() for name, tensor in module.named_parameters()}
    state = method.step(TASK, module, rows(64, shift=2.0), method.begin(module))
    assert state["entropy"] is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.named_parameters())


def test_uncertain_examples_do_not_count(trained):
    """None is surer than the smallest share: nothing moves."""
    module = copy.deepcopy(trained.module)
    method = Tent(lr=0.1, most=1e-9, least=0.0)
    before = {name: tensor.clone() for name, tensor in module.named_parameters()}
    method.step(TASK, module, rows(64, shift=2.0), method.begin(module))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.named_parameters())


@each
def test_a_net_without_norms_is_refused(method):
    model = TrainedModel(MLP(4, 3, (8,)).build().eval(), Classification(MLP(4, 3, (8,)), 3))
    with pytest.raises(ModelError, match=r"has no BatchNorm layer, and so nothing to refresh"):
        model.predict(rows(32), adapt=method)


def test_norms_without_scale_and_shift_are_refused_by_tent():
    net = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3)).eval()
    model = TrainedModel(net, TASK)
    with pytest.raises(ModelError, match=r"Tent: BatchNorm has no scale and shift"):
        model.predict(rows(32), adapt=Tent())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tent(lr=0.0), r"Tent\.lr=0\.0: must be > 0 and finite"),
        (lambda: Tent(steps=0), r"Tent\.steps=0: must be >= 1"),
        (lambda: Tent(most=0.0), r"Tent\.most=0\.0: must be in \(0, 1\]"),
        (lambda: Tent(most=0.3, least=0.3), r"Tent\.least=0\.3: must be in \[0, most=0\.3\)"),
        (lambda: BatchStatistics(batch_size=1), r"BatchStatistics\.batch_size=1: must be >= 2"),
        (lambda: BatchStatistics(min_batch=300), r"BatchStatistics\.min_batch=300: must be in 2\.\.batch_size=200"),
        (lambda: BatchStatistics(prior=-1.0), r"BatchStatistics\.prior=-1\.0: must be >= 0 examples"),
        (lambda: Adapted(TASK, "tent"), r"Adapted\.method='tent': must be a method of adaptation at test"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
