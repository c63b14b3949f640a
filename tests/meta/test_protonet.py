import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.errors import ModelError
from raycollab.meta import FewShot, Functional, ProtoNet
from raycollab.meta.episodes import at

from .test_base import DIGITS, learned

LEARNER = ProtoNet(tasks=FewShot(3, 2, 4))


def test_adapted_logits_are_distances_to_the_prototypes():
    """Softmax over minus the squared distances, written out; a class without examples is never predicted."""
    torch.manual_seed(0)
    task = rc.ImageClassification(rc.models.MLP(64, 4, hidden=(6,)), 4)
    model = Functional(task, task.model())
    support, query = (at(part, 0) for part in LEARNER.tasks.draw(DIGITS, [3]))
    adapted = LEARNER.adapt(model, model.params(), support)
    seen, asked = (model.features(model.params(), part) for part in (support, query))
    means = torch.stack([seen[support["label"] == k].mean(0) for k in range(3)])
    distances = (asked.unsqueeze(1) - means).square().sum(2)
    found = model.call(task.logits, adapted, query).softmax(1)
    torch.testing.assert_close(found[:, :3], (-distances).softmax(1), rtol=1e-4, atol=1e-6)
    assert found[:, 3].max() == 0


def test_all_but_the_head_learns():
    update, model = learned(LEARNER, rc.models.MLP(64, 3, hidden=(8,)))
    head = {entry.name: update.vectors["delta"][entry.offset : entry.stop].any() for entry in model.spec.params}
    assert head == {"1.weight": True, "1.bias": True, "3.weight": False, "3.bias": False}


def test_refuses():
    headless = Functional(rc.ImageClassification(rc.models.MLP(64, 3), 3), nn.Flatten())
    with pytest.raises(ModelError, match=r"ProtoNet: Flatten must end with an nn\.Linear with a bias"):
        LEARNER.adapt(headless, {}, {})
    numbers = Functional(rc.Regression(rc.models.MLP(2, 1)), rc.models.MLP(2, 1).build())
    with pytest.raises(ModelError, match=r"ProtoNet: Regression has no column of classes; give a Classification"):
        LEARNER.adapt(numbers, numbers.params(), {"features": torch.zeros(1, 2)})
