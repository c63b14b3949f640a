import math
from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.aggregation import Mean, Tilted, add_up
from raycollab.errors import ConfigError, UpdateError
from raycollab.types import Round, Update

from ..contracts.support import digits, train

PARAMS = torch.zeros(1)
UPDATES = (
    Update("a", 1.0, {"delta": torch.tensor([4.0])}, {"start_loss": 0.0}),
    Update("b", 2.0, {"delta": torch.tensor([8.0])}, {"start_loss": 1.0}),
)


def merged(rule, *updates):
    total = add_up(rule.collect(update, Round(1, 0, 0, {})) for update in updates)
    rule.check(total)
    update, _ = rule.update(total, rule.init(PARAMS), PARAMS, seed=0)
    return update


@pytest.mark.parametrize("tilt", [math.log(3), -math.log(2)])
def test_by_hand(tilt):
    """Weights 1 and 2, losses 0 and 1: tilted by log 3 they are 1 and 6, by -log 2 1 and 1."""
    share = 2 * math.exp(tilt) / (1 + 2 * math.exp(tilt))
    assert share == pytest.approx(6 / 7 if tilt > 0 else 1 / 2)
    update = merged(Tilted(tilt), *UPDATES)
    assert update.vectors["delta"].tolist() == pytest.approx([4 * (1 - share) + 8 * share])
    assert update.scalars == pytest.approx({"weight/a": 1 - share, "weight/b": share})


def test_no_tilt_is_the_mean_and_a_large_one_the_worst_agent():
    mean = add_up(Mean().collect(update, Round(1, 0, 0, {})) for update in UPDATES).mean()
    assert merged(Tilted(0.0), *UPDATES).vectors["delta"].tolist() == pytest.approx(mean.vectors["delta"].tolist())
    assert merged(Tilted(1e6), *UPDATES).vectors["delta"].tolist() == [8.0]
    assert merged(Tilted(-1e6), *UPDATES).vectors["delta"].tolist() == [4.0]


def test_agents_without_weight_have_none_and_somebody_must():
    without = replace(UPDATES[0], weight=0.0)
    assert merged(Tilted(-1e6), without, UPDATES[1]).scalars == {"weight/a": 0.0, "weight/b": 1.0}
    with pytest.raises(UpdateError, match="sum to 0"):
        merged(Tilted(1.0), without)


def test_bad_settings():
    with pytest.raises(ConfigError, match=r"Tilted.tilt=inf: must be finite"):
        Tilted(math.inf)


def test_in_a_run_the_weights_are_told():
    learner = rc.StartLoss(rc.SGD(lr=0.1, steps=1, batch_size=8))
    found = train(digits(learner, Tilted(2.0), rounds=2))
    assert sum(row.weight for row in found.reports[-1].agents) == pytest.approx(1)
