"""A model that grows with hosts in actors: the same bits as in one process, and what a report says of it."""

import sys
from dataclasses import replace

import pytest
import ray

import raycollab as rc
from raycollab.conduct import status

from . import support
from .support import STATEFUL, OnRay, experiment, locally

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]
ray.cloudpickle.register_pickle_by_value(sys.modules[support.__name__])  # actors cannot import the tests


def test_a_model_that_grows_in_actors_ends_at_the_same_bits(tmp_path):
    made = experiment(STATEFUL, STATEFUL, STATEFUL)
    net = made.task.net
    growth = rc.Growth((replace(net, num_outputs=9, hidden=(5,)),), rc.growth.NewClasses())
    made = replace(made, growth=growth, exchange=rc.Exchange(slices=True))
    with OnRay(made, tmp_path) as on_ray:
        found = list(on_ray.driver.rounds())
        vectors, where = on_ray.driver.vectors, status(on_ray.driver)
    local = locally(made, tmp_path)
    same = list(local.rounds())
    assert [report.changes for report in found] == [report.changes for report in same]
    assert [len(report.changes) for report in found][:1] == [1]
    assert {name: v.numpy().tobytes() for name, v in vectors.items()} == {
        name: v.numpy().tobytes() for name, v in local.vectors.items()
    }
    assert [{agent.form for agent in report.agents} for report in found][:2] == [{0}, {1}]
    assert found[-1].own_metrics == same[-1].own_metrics
    assert (where["form"], where["parameters"]) == (1, sum(p.numel() for p in net.build().parameters()))
