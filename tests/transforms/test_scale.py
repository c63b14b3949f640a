import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.schedules import Cosine, Decay
from raycollab.transforms import Scale


def test_by_hand():
    """Halved after every two rounds: 1, 1, 1/2, 1/2, 1/4."""
    rule, params = Scale(Decay(0.5, every=2)), torch.zeros(1)
    state, steps = rule.init(params), []
    for _ in range(5):
        step, state = rule.update(torch.tensor([8.0]), state, params, seed=0)
        steps.append(step.item())
    assert steps == [8.0, 8.0, 4.0, 4.0, 2.0]
    assert state == {"rounds": 5}


@pytest.mark.parametrize("over", ["epochs", "steps"])
def test_refuses_what_it_cannot_count(over):
    with pytest.raises(ConfigError, match=rf"Scale\.schedule\.over='{over}': must be 'rounds'"):
        Scale(Cosine(10, over=over))


def test_refuses_a_number():
    with pytest.raises(ConfigError, match=r"Scale\.schedule=2: must be a schedule such as"):
        Scale(2)
