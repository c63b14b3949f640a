"""A net with fewer outputs than there are classes, and one without some of its layers."""

import math

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.models import MLP, Module, Padded, Without

ROWS = {
    "features": torch.randn(6, 4, generator=torch.Generator().manual_seed(0)),
    "label": torch.tensor([0, 1, 2, 2, 1, 0]),
}


def test_missing_outputs_are_never_predicted_and_have_no_part_in_the_loss():
    """Of six rows, those with label 2 are wrong and not in the loss; the rest score as by the net alone."""
    torch.manual_seed(0)
    plain = MLP(4, 2).build()
    torch.manual_seed(0)
    padded = Padded(MLP(4, 2), 3).build()
    assert list(plain.state_dict()) == list(padded.state_dict())
    logits = padded(ROWS["features"])
    assert torch.equal(logits[:, :2], plain(ROWS["features"]))
    assert torch.equal(logits[:, 2], torch.full((6,), -math.inf))
    known = {name: column[ROWS["label"] < 2] for name, column in ROWS.items()}
    alone = rc.Classification(MLP(4, 2), 2).statistics(plain, known).compute()
    found = rc.Classification(Padded(MLP(4, 2), 3), 3).statistics(padded, ROWS).compute()
    assert found["loss"] == pytest.approx(alone["loss"])
    assert found["accuracy"] == pytest.approx(alone["accuracy"] * 4 / 6)


def test_a_loss_that_is_not_finite_for_another_reason_still_shows():
    """A net that diverged: its logits are no numbers, or too far apart."""

    class Far(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value, self.w = value, nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return torch.tensor([0.0, self.value, 0.0]).expand(len(x), 3) + self.w

    task = rc.Classification(MLP(4, 3), 3)
    assert math.isnan(task.statistics(Far(math.nan), ROWS).compute()["loss"])
    assert not math.isfinite(task.statistics(Far(math.inf), ROWS).compute()["loss"])


def test_it_learns_as_the_net_alone():
    torch.manual_seed(0)
    module = Padded(MLP(4, 2), 3).build()
    task = rc.Classification(Padded(MLP(4, 2), 3), 3)
    known = {name: column[ROWS["label"] < 2] for name, column in ROWS.items()}
    loss = task.loss(module, known)
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())
    assert loss.item() == pytest.approx(rc.Classification(MLP(4, 2), 2).loss(_unpadded(module), known).item())


def _unpadded(module):
    plain = MLP(4, 2).build()
    plain.load_state_dict(module.state_dict())
    return plain


class Dict(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Linear(4, 2)

    def forward(self, x):
        return {"logits": self.w(x)}


def test_what_returns_no_tensor_is_refused():
    with pytest.raises(rc.ModelError, match="Padded: Dict returns a dict; a head that grows must return logits"):
        Padded(Module(Dict), 3).build()(torch.zeros(1, 4))
    with pytest.raises(rc.ConfigError, match=r"Padded.num_outputs=0: must be >= 1"):
        Padded(MLP(4, 2), 0)


def test_a_net_without_a_layer_keeps_the_names_of_the_others():
    net = MLP(4, 3, (5, 5))
    left = Without(net, ["3"]).build()
    assert set(net.build().state_dict()) - set(left.state_dict()) == {"3.weight", "3.bias"}
    assert left(torch.zeros(2, 4)).shape == (2, 3)
    assert Without(net, ("3",)).num_outputs == 3
