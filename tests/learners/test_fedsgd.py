import pytest
import torch

from raycollab.errors import ConfigError, ModelError, UpdateError
from raycollab.learners import FedSGD

from .conftest import TASK, build


@pytest.mark.parametrize("batch_size", [1, 6, 1000])
def test_equals_torch(bench, batch_size):
    """Minus the gradient of the mean loss over all 20 examples, in however many pieces."""
    module = build()
    loss = TASK.loss(module, bench.shard.columns())
    loss.backward()
    expected = -torch.cat([p.grad.reshape(-1) for p in module.parameters()])
    update, state = FedSGD(batch_size).update(bench.problem, bench.params, {}, bench.round)
    torch.testing.assert_close(update.vectors["delta"], expected, rtol=1e-4, atol=1e-6)
    assert update.scalars["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert (update.weight, state) == (20.0, {})


def test_what_it_reports(bench):
    """One step, however many batches it took; the model has not moved."""
    update, _ = FedSGD(6).update(bench.problem, bench.params, {}, bench.round)
    assert {name: update.scalars[name] for name in ("steps", "effective_steps", "counted")} == {
        "steps": 1.0,
        "effective_steps": 1.0,
        "counted": 20.0,
    }
    assert torch.equal(bench.model.read(), bench.params)


def test_private_parameters_are_refused(private_head):
    message = (
        "FedSGD takes no step at the agent, so the private parameters 6.weight, 6.bias would never learn: exchange"
    )
    with pytest.raises(ModelError, match=message):
        FedSGD().update(private_head.problem, private_head.params, {}, private_head.round)


def test_a_loss_that_is_not_finite(bench):
    with pytest.raises(UpdateError, match="the loss is nan"):
        FedSGD().update(bench.poison(), bench.params, {}, bench.round)


def test_refuses():
    with pytest.raises(ConfigError, match=r"FedSGD\.batch_size=0: must be >= 1"):
        FedSGD(0)
