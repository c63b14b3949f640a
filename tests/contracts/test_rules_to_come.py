"""Toys: rules for merging that ask more of the interfaces than the mean does."""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import pytest
import torch

import raycollab as rc

from .support import ONE_STEP, Training, digits, full_batch, gradient, quadratics, train


def test_fednova_is_its_formula():
    """w + tau_eff * sum_i p_i delta_i / tau_i with tau_eff = sum_i p_i tau_i; agents take 1, 4 and 7 steps."""
    steps, sizes = (1, 4, 7), (2, 3, 5)
    experiment, columns = quadratics(sizes, ONE_STEP, rc.FedNova(), rounds=1)
    learners = [rc.SGD(**full_batch(0.1, count)) for count in steps]
    members = tuple(replace(agent, learner=learners[i]) for i, agent in enumerate(experiment.members()))
    done = train(replace(experiment, agents=rc.Parties(members)))
    shares = torch.tensor(sizes) / sum(sizes)
    normalised = torch.zeros(4)
    for share, held, count in zip(shares, columns, steps, strict=True):
        w = torch.zeros(4)
        for _ in range(count):
            w = w - 0.1 * gradient(held, w)
        normalised += share * w / count
    expected = normalised * sum(share * count for share, count in zip(shares, steps, strict=True))
    torch.testing.assert_close(done.params, expected, rtol=1e-5, atol=1e-6)
    plain = train(replace(experiment, agents=rc.Parties(members), chain=(rc.Mean(),))).params
    assert not torch.allclose(plain, expected, rtol=1e-2)  # the known-bad input: the mean follows who steps most


def test_median_of_quadratics_is_the_median_of_their_steps():
    """After one full step from zero an agent's delta is -lr * gradient(0), so the median has a closed form."""
    experiment, columns = quadratics([2, 3, 4], rc.SGD(**full_batch(0.1, 1)), rc.Median(), rounds=1)
    steps = torch.stack([-0.1 * gradient(held, torch.zeros(4)) for held in columns])
    torch.testing.assert_close(train(experiment).params, steps.median(0).values)


def test_fisher_mean_follows_the_agent_that_knows():
    """One step, equal sizes: sum_i F_i delta_i / sum_i F_i with F = mean of (a (w - x))^2 over single examples."""
    experiment, columns = quadratics([4, 4, 4], rc.Fisher(rc.SGD(**full_batch(0.1, 1))), rc.FisherMean(), rounds=1)
    above = below = torch.zeros(4)
    for held in columns:
        w = -0.1 * gradient(held, torch.zeros(4))
        fisher = ((held["a"] * (w - held["x"])) ** 2).mean(0)
        above, below = above + fisher * w, below + fisher
    torch.testing.assert_close(train(experiment).params, above / below, rtol=1e-5, atol=1e-6)


def test_a_rule_that_needs_what_learners_do_not_send_is_refused():
    with pytest.raises(rc.ConfigError, match=r"FisherMean needs \['fisher'\], which SGD does not send"):
        Training(digits(ONE_STEP, rc.FisherMean()))


@dataclass(frozen=True)
class ClipLayers(rc.Transform):
    """Clip every layer by itself: a transform that goes by names, which it is bound to."""

    max_norms: tuple[tuple[str, float], ...]
    places: tuple[tuple[slice, float], ...] = ()

    def bind(self, spec):
        limits = [(e, norm) for e in spec.params for pattern, norm in self.max_norms if fnmatchcase(e.name, pattern)]
        return replace(self, places=tuple((slice(e.offset, e.stop), norm) for e, norm in limits))

    def update(self, delta, state, params, *, seed):
        clipped = delta.clone()
        for place, norm in self.places:
            clipped[place] *= min(1.0, norm / float(delta[place].norm()))
        return clipped, state


@pytest.mark.parametrize("on_agent", [True, False])
def test_a_transform_may_go_by_the_names_of_parameters(on_agent):
    """Agents are all alike here, so that clipping before and after the mean are the same."""
    clip = ClipLayers((("1.*", 1e-3),))
    chain = (clip, rc.Mean()) if on_agent else (rc.Mean(), clip)
    before = Training(digits(ONE_STEP, *chain, rounds=1, num_agents=1))
    start = before.params
    moved = before.finish().params - start
    for entry in before.driver.offer.spec.params:
        norm = float(moved[entry.offset : entry.stop].norm())
        assert (norm <= 1.001e-3) == entry.name.startswith("1."), (entry.name, norm)


def test_prox_is_its_formula():
    experiment, (held,) = quadratics([4], rc.Prox(rc.SGD(**full_batch(0.1, 3)), mu=2.0), rounds=2)
    w = torch.zeros(4)
    for _ in range(2):
        start = w
        for _ in range(3):
            w = w - 0.1 * (gradient(held, w) + 2.0 * (w - start))
    torch.testing.assert_close(train(experiment).params, w, rtol=1e-5, atol=1e-6)
