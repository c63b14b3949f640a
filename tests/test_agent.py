import pytest
import torch

from raycollab.agent import Agent
from raycollab.data import Arrays
from raycollab.errors import ConfigError
from raycollab.learners import SGD


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "Agent.name='': must not be empty"),
        ({"val_fraction": 1.0}, r"Agent.val_fraction=1.0: must be in \[0, 1\)"),
        ({"shard": "x.parquet"}, r"Agent\('a'\).shard='x.parquet': must be a Source"),
        ({"learner": SGD}, r"Agent\('a'\).learner=<class .*SGD'>: must be a Learner"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Agent(**{"name": "a", "shard": Arrays({"features": torch.zeros(2, 3)}), "learner": SGD(), **settings})
