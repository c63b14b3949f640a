"""Models one after another: see also test_log_mel."""

import torch

from raycollab.models import MLP, Sequential


def test_each_is_given_what_the_one_before_makes():
    module = Sequential([MLP(4, 3, hidden=()), MLP(3, 2, hidden=())]).build()
    inputs = torch.randn(5, 4)
    first, second = module
    assert torch.equal(module(inputs), second(first(inputs)))
