"""Secure sums between actors: the bits of one process, also where actors die."""

import sys
from dataclasses import replace

import pytest
import ray

from raycollab.aggregation import Mean
from raycollab.learners import SGD
from raycollab.secure import SecureSum
from raycollab.transforms import Momentum

from . import support
from .support import STATEFUL, OnRay, experiment, locally, moody

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]
ray.cloudpickle.register_pickle_by_value(sys.modules[support.__name__])  # actors cannot import the tests
FORGETFUL = SGD(lr=0.1)
CHAIN = (SecureSum(Mean(), min_agents=3, threshold=0.6), Momentum(0.9))


def secure(*learners, **settings):
    return replace(experiment(*learners, **settings), chain=CHAIN).resolved()


def bits(driver):
    return {name: vector.numpy().tobytes() for name, vector in driver.vectors.items()}


def test_actors_have_the_bits_of_one_process_also_where_they_die(tmp_path):
    """Five parties, an actor each: one dies while it trains, another once its masked update is there.

    The latter remembers nothing, so that all that dies with it are its shares and masks.
    """
    others = STATEFUL, STATEFUL, FORGETFUL, STATEFUL
    with OnRay(secure(moody("die"), *others), tmp_path) as on_ray:
        reports = [on_ray.driver.step() for _ in range(2)]
        run = on_ray.pool.run

        def and_die(*arguments, **settings):
            collected = run(*arguments, **settings)
            on_ray.kill(3)
            on_ray.pool.run = run
            return collected

        on_ray.pool.run = and_die
        reports += [on_ray.driver.step() for _ in range(2)]
        found = bits(on_ray.driver)
    same = locally(secure(moody("raise"), *others), tmp_path)
    expected = [same.step() for _ in range(4)]
    assert [[failure.agent for failure in report.failures] for report in reports] == [[], ["agent-0"], [], []]
    assert [report.train_loss for report in reports[:2]] == [report.train_loss for report in expected[:2]]
    assert [len(report.agents) for report in reports] == [5, 4, 5, 5]
    assert found == bits(same)
