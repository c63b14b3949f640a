"""Regression: losses by name, scaled targets, and what is said of targets that are none."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from raycollab.data import WEIGHT
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import MLP, Module
from raycollab.params import Exchange, FlatModel
from raycollab.tasks import Regression


def passing(**settings):
    """A task whose module hands its inputs through: they are what it predicts."""
    return Regression(Module(nn.Identity), **settings)


BATCH = {"features": torch.tensor([[0.0], [3.0], [-0.5]]), "label": torch.tensor([0.0, 1.0, 0.0])}


@pytest.mark.parametrize(
    ("error", "expected"),
    [("mse", (0 + 4 + 0.25) / 3), ("mae", (0 + 2 + 0.5) / 3), ("huber", (0 + 1.5 + 0.125) / 3)],
)
def test_losses_by_hand(error, expected):
    """Errors 0, 2 and -0.5; Huber's is half the square up to 1, and |e| - 1/2 beyond."""
    assert passing(error=error).loss(nn.Identity(), BATCH).item() == pytest.approx(expected)


def test_targets_are_scaled_for_the_loss_and_back_for_people():
    """Targets 10 and 14 are -1 and 1 by mean 12 and deviation 2; outputs -1 and 2 are 10 and 16."""
    task = passing(mean=12.0, deviation=2.0)
    batch = {"features": torch.tensor([[-1.0], [2.0]]), "label": torch.tensor([10, 14])}
    assert task.loss(nn.Identity(), batch).item() == pytest.approx(0.5)
    assert task.predict(nn.Identity(), batch)["prediction"].tolist() == [10.0, 16.0]
    found = task.statistics(nn.Identity(), batch).compute()
    assert found == pytest.approx({"loss": 0.5, "mse": 2.0, "rmse": math.sqrt(2), "mae": 1.0, "r2": 0.5})


def test_several_targets():
    task = passing(mean=(0.0, 10.0), deviation=(1.0, 5.0))
    batch = {"features": torch.tensor([[1.0, 1.0], [0.0, 0.0]]), "label": torch.tensor([[1.0, 20.0], [0.0, 10.0]])}
    assert task.losses(batch["features"], batch).tolist() == [0.5, 0.0]
    assert task.predict(nn.Identity(), batch)["prediction"].tolist() == [[1.0, 15.0], [0.0, 10.0]]


def test_weights_count_in_the_loss_only():
    weighted = {**BATCH, WEIGHT: torch.tensor([1.0, 0.5, 1.0])}
    task = passing()
    assert task.loss(nn.Identity(), weighted).item() == pytest.approx((2 + 0.25) / 3)
    assert task.statistics(nn.Identity(), weighted) == task.statistics(nn.Identity(), BATCH)


def test_batches_merge():
    task = passing()
    halves = [{name: column[part] for name, column in BATCH.items()} for part in (slice(1), slice(1, 3))]
    whole = task.evaluate(nn.Identity(), [BATCH]).compute()
    assert task.evaluate(nn.Identity(), halves).compute() == pytest.approx(whole)


def test_several_input_columns():
    """They stand beside each other in the order of their names, as floats."""
    task = passing(inputs=["wide", "age"])
    batch = {"age": torch.tensor([7, 8]), "wide": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "label": torch.zeros(2)}
    assert task.inputs_of(batch).tolist() == [[1.0, 2.0, 7.0], [3.0, 4.0, 8.0]]
    assert task.count(batch) == 2
    with pytest.raises(DataError, match="north: the task needs column 'age'; there are: label, wide"):
        task.check({"wide": batch["wide"], "label": batch["label"]}, "north")


def test_agents_can_learn_in_the_same_steps():
    task = passing()
    outputs = BATCH["features"].clone().requires_grad_()
    functional.mse_loss(outputs[:, 0], BATCH["label"], reduction="sum").backward()
    assert task.tells_losses
    torch.testing.assert_close(task.losses_and_gradients(BATCH, BATCH["features"])[1], outputs.grad)


@pytest.mark.parametrize("column", ["features", "label"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_rows_are_refused_or_dropped(column, bad):
    held = {name: values.clone() for name, values in BATCH.items()}
    held[column][1] = bad
    assert passing(bad_rows="drop").check(held, "here").tolist() == [True, False, True]
    with pytest.raises(DataError, match=f"here: row 1 of column '{column}' holds NaN or infinity .*'drop'"):
        passing().check(held, "here")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(3, 2, 2), r"'label' holds float32 of shape \[3, 2, 2\]; targets are one number a row"),
        (torch.ones(3, dtype=torch.bool), r"'label' holds bool of shape \[3\]; targets are one number a row"),
        (torch.zeros(3, 3), "'label' holds 3 targets a row, and mean and deviation 2; give one for all"),
    ],
)
def test_targets_are_checked(labels, message):
    with pytest.raises(DataError, match=message):
        passing(mean=(0, 0), deviation=(1, 1)).check({**BATCH, "label": labels}, "here")


def test_an_output_of_another_form():
    with pytest.raises(ModelError, match=r"output has shape \[3, 2\]; targets of shape \[3\] need \[3, 1\]"):
        passing().loss(nn.Identity(), {**BATCH, "features": torch.zeros(3, 2)})


def test_parties_agree_on_the_scale():
    spec = FlatModel(MLP(2, 1).build(), Exchange()).spec
    prints = {Regression(MLP(2, 1), mean=mean).fingerprint(spec).digest() for mean in (0.0, 1.0)}
    assert len(prints) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"net": nn.Linear(2, 1)}, "Regression.net=.* must be a recipe"),
        ({"error": "rmse"}, "Regression.error='rmse': must be one of"),
        ({"deviation": 0.0}, "Regression.deviation=0.0: must be > 0"),
        ({"mean": (0.0, 1.0)}, r"Regression.deviation=1.0: must be > 0, and as many as mean=\(0.0, 1.0\)"),
        ({"inputs": ()}, r"Regression.inputs=\(\): must name a column"),
        ({"bad_rows": "skip"}, "Regression.bad_rows='skip': must be 'error' or 'drop'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        Regression(**{"net": MLP(2, 1), **settings})
