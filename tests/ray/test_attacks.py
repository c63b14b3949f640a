"""Bad agents in actors: what the driver forges of their updates is what it forges in one process."""

import pytest
import torch

from raycollab.fitting import run_experiment

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def test_an_attack_has_the_same_bits_in_actors(digits):
    settings = ("run.num_rounds=2", "scaling.agents_per_host=4", "attack.kind=ipm", "attack.num_agents=3")
    on_ray = run_experiment(digits(*settings, "run.name=ray")).model().module.state_dict()
    local = run_experiment(digits(*settings, "run.name=local", "scaling.pool=local")).model().module.state_dict()
    assert all(torch.equal(on_ray[name], tensor) for name, tensor in local.items())
