import pytest
import torch

import raycollab as rc
from raycollab.params import FlatModel
from raycollab.personal import fed_bn

from ..contracts.support import DIGITS, digits, train

NORMED = rc.ImageClassification(rc.models.CNN(10, size=8, channels=(4, 4), hidden=8, batch_norm=True), num_classes=10)


def test_norm_layers_and_their_statistics_stay():
    model = FlatModel(NORMED.model(), fed_bn(NORMED))
    private = {"1.weight", "1.bias", "5.weight", "5.bias"}
    statistics = {
        f"{layer}.{name}" for layer in (1, 5) for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert set(model.private()) == private | statistics
    assert not model.spec.buffers


def test_agents_have_norms_of_their_own():
    done = train(digits(rc.SGD(lr=0.1, steps=2, batch_size=8), task=NORMED, exchange=fed_bn(NORMED)))
    one, other = (done.remembered(name)["private"] for name in ("agent-0", "agent-1"))
    assert not torch.equal(one["1.running_mean"], other["1.running_mean"])
    assert not torch.equal(one["1.weight"], other["1.weight"])


def test_a_net_without_norms_is_refused():
    with pytest.raises(rc.ModelError, match="fed_bn: Sequential has no normalisation layer"):
        fed_bn(DIGITS)
