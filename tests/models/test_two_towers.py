"""Two towers: what each is given, and their names."""

import math

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.models import MLP, Module, TwoTowers
from raycollab.params import Exchange, FlatModel


class Counted(nn.Module):
    """How many tokens a text has."""

    def forward(self, tokens, attention_mask):
        return attention_mask.sum(1, keepdim=True).float()


def test_each_tower_is_given_its_own():
    net = TwoTowers(MLP(4, 2, ()), Module(Counted)).build()
    pixels, mask = torch.rand(3, 1, 2, 2), torch.tensor([[1, 1], [1, 0], [1, 1]])
    images, texts = net(pixels, torch.zeros(3, 2, dtype=torch.int64), mask)
    assert torch.equal(images, net.image(pixels))
    assert texts.tolist() == [[2.0], [1.0], [2.0]]


def test_names_tell_the_towers_apart():
    form = TwoTowers(MLP(4, 2, ()), MLP(4, 2, ()), temperature=0.5)
    model = FlatModel(form.build(), Exchange(include=("text.*", "log_scale")))
    assert [entry.name for entry in model.spec.params] == ["log_scale", "text.1.weight", "text.1.bias"]
    assert math.exp(model.module.log_scale.item()) == pytest.approx(2.0)
    frozen = rc.models.Frozen(form, ("image.*",)).build()
    assert [name for name, each in frozen.named_parameters() if not each.requires_grad] == [
        "image.1.weight",
        "image.1.bias",
    ]
