"""Merges judged by hosts in actors: the same bits as on the driver, also where a host is gone."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc

from .support import STATEFUL, OnRay, experiment, locally

pytestmark = pytest.mark.ray
HELD = rc.data.Holdout(rc.data.Digits("train"), "test", 0.2)


def judged(**settings):
    """Three agents, a host each, whose merges are searched on validation data that hosts may open."""
    rule = rc.LearnedWeights(HELD, on_hosts=True, **settings)
    base = experiment(*[STATEFUL] * 3, agents_per_host=1)
    return replace(base, chain=(rule,))


@pytest.mark.parametrize("settings", [{"method": "greedy"}, {"method": "cma", "steps": 2}])
def test_hosts_and_driver_find_the_same_bits(settings, tmp_path, ray_cluster):
    """Every search with several candidates is judged by hosts alone; what a dead one should, by the driver."""
    if settings["method"] == "cma":
        pytest.importorskip("cmaes")
    alone = locally(judged(**settings), tmp_path)
    with OnRay(judged(**settings), tmp_path) as there:
        answers = []
        judge = there.pool.hosts.judged
        there.pool.hosts.judged = lambda *given: answers.append(judge(*given)) or answers[-1]
        for _ in range(2):
            report = there.driver.step()
            alone.step()
            assert torch.equal(there.driver.vectors["params"], alone.vectors["params"])
            assert not any("driver judged" in note for note in report.notes)
        assert answers
        assert all(isinstance(value, float) for found in answers for value in found)
        candidates = [there.driver.vectors] * 3
        there.kill(1)
        found = there.pool.judge(candidates)
        assert [isinstance(value, float) for value in found] == [True, False, True]
        assert there.driver._validation.losses(candidates) == [found[0]] * 3
        assert "the driver judged 1 of 3 merges" in there.driver._validation.news()[0]
