"""Codecs and an asynchronous mode with hosts in actors: the same bits, and the same bytes, as in one process."""

import sys
from dataclasses import replace

import pytest
import ray

from raycollab.codecs import BFloat16, Quantize
from raycollab.modes import Buffered
from raycollab.selection import PowerOfChoice

from . import support
from .support import STATEFUL, OnRay, experiment, locally

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]
ray.cloudpickle.register_pickle_by_value(sys.modules[support.__name__])  # actors cannot import the tests


def test_codecs_and_versions_that_are_not_the_newest_change_nothing_between_pools(tmp_path):
    made = replace(
        experiment(STATEFUL, STATEFUL, STATEFUL),
        upload=Quantize(4),
        broadcast=BFloat16(),
        mode=Buffered(2),
        select=PowerOfChoice(3),
    )
    with OnRay(made, tmp_path) as on_ray:
        found = list(on_ray.driver.rounds())
        vectors = on_ray.driver.vectors
    local = locally(made, tmp_path)
    same = list(local.rounds())
    assert {name: v.numpy().tobytes() for name, v in vectors.items()} == {
        name: v.numpy().tobytes() for name, v in local.vectors.items()
    }
    assert [(r.bytes_up, [(a.agent, a.loss, a.num_bytes) for a in r.agents]) for r in found] == [
        (r.bytes_up, [(a.agent, a.loss, a.num_bytes) for a in r.agents]) for r in same
    ]
    assert all(r.bytes_up < 0.3 * sum(a.num_bytes for a in r.agents) for r in found)
