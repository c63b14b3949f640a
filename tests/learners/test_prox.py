import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.learners import SGD, Prox


def test_without_a_pull_it_is_the_learner(bench):
    learner = SGD(lr=0.1, momentum=0.9, keep_momentum=True, batch_size=6)
    plain, kept = learner.update(bench.problem, bench.params, {}, bench.round)
    pulled, also_kept = Prox(learner, mu=0.0).update(bench.problem, bench.params, {}, bench.round)
    assert torch.equal(plain.vectors["delta"], pulled.vectors["delta"])
    assert torch.equal(kept["velocity"][0], also_kept["velocity"][0])


def test_a_strong_pull_keeps_it_near(bench):
    learner = SGD(lr=0.01, batch_size=2, epochs=5)
    norms = [Prox(learner, mu).update(bench.problem, bench.params, {}, bench.round)[0].vectors["delta"].norm()
             for mu in (0.0, 1.0, 50.0)]  # fmt: skip
    assert norms[0] > norms[1] > norms[2] > 0


def test_a_negative_pull_is_refused():
    with pytest.raises(ConfigError, match=r"Prox\.mu=-1: must be >= 0"):
        Prox(SGD(), mu=-1)
