import pytest
import torch

import raycollab as rc
from raycollab.errors import ConfigError, ModelError
from raycollab.meta import CAVIA
from raycollab.models import MLP, WithContext
from raycollab.spec import Entry

from .test_base import DIGITS, learned

NET = WithContext(MLP(69, 3, hidden=(8,)), 5)
LEARNER = CAVIA(lr=0.5, tasks=rc.FewShot(3, 2, 4))


def test_inner_steps_move_the_context_and_outer_ones_the_net():
    update, model = learned(LEARNER, NET)
    place: Entry = next(entry for entry in model.spec.params if entry.name == "context")
    assert not update.vectors["delta"][place.offset : place.stop].any()
    assert update.vectors["delta"][place.stop :].any()
    task = rc.ImageClassification(NET, 3)
    functional = rc.meta.Functional(task, model.module)
    start = functional.params()
    support = {name: column[0] for name, column in LEARNER.tasks.draw(DIGITS, [1])[0].items()}
    adapted = LEARNER.adapt(functional, start, support)
    assert {name for name in start if not torch.equal(start[name], adapted[name])} == {"context"}
    assert functional.loss(adapted, support) < functional.loss(start, support)


def test_zero_context_is_no_input():
    """At the start the net sees its inputs, and zeros beside them."""
    module, x = NET.build(), torch.randn(2, 1, 8, 8)
    assert torch.equal(module(x), module.net(torch.cat([x.flatten(1), torch.zeros(2, 5)], 1)))


def test_refuses():
    with pytest.raises(ModelError, match=r"CAVIA: \('context', '\*\.context'\) matches no trainable parameter"):
        learned(LEARNER, MLP(64, 3))
    with pytest.raises(ConfigError, match=r"WithContext\.size=0: must be >= 1"):
        WithContext(MLP(64, 3), 0)
