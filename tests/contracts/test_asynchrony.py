"""Toy: FedBuff on a virtual clock. Agents start from versions that are no longer the newest; nothing waits.

Source: Nguyen et al., AISTATS 2022, arXiv 2106.06639, Algorithm 1; the discount is 1 / sqrt(1 + staleness).
"""

from dataclasses import dataclass

import torch

import raycollab as rc
from raycollab.rng import numpy_generator

from .support import ONE_STEP, Training, digits, full_batch, gradient, quadratics, train


@dataclass(frozen=True)
class Buffered(rc.Mode):
    """The `size` agents that are ready first make a round, and start again at its version.

    Durations are exponential, drawn at (seed, version, agent). Who started more than `staleness` versions ago starts
    again at the newest.
    """

    size: int = 2
    staleness: int = 3

    @property
    def horizon(self):
        return self.staleness + 1

    def assign(self, selected, state, *, version, seed):
        clock, begun, ready = state.get("clock", 0.0), dict(state.get("begun", {})), dict(state.get("ready", {}))

        def start(name, at):
            begun[name] = at
            ready[name] = clock + float(numpy_generator(seed, "duration", at, name).exponential())

        for name in selected:
            if name not in begun or version - begun[name] > self.staleness:
                start(name, version)
        first = sorted(selected, key=lambda name: (ready[name], name))[: self.size]
        work = [
            rc.Assignment(name, begun[name], discount=(1 + version - begun[name]) ** -0.5)
            for name in sorted(first, key=selected.index)
        ]
        clock = max(ready[name] for name in first)
        for name in first:
            start(name, version + 1)
        return work, {"clock": clock, "begun": begun, "ready": ready}


def test_buffered_rounds_are_deterministic_and_differ_from_synchronous_ones():
    one = train(digits(ONE_STEP, mode=Buffered(), rounds=6))
    assert train(digits(ONE_STEP, mode=Buffered(), rounds=6), num_hosts=4).bits() == one.bits()
    assert train(digits(ONE_STEP, rounds=6)).bits() != one.bits()
    assert {len(report.agents) for report in one.reports} == {2}


def test_buffered_is_its_formula():
    """Two agents of a quadratic; the reference keeps all versions and replays who started where."""
    mode = Buffered(size=1, staleness=4)
    experiment, columns = quadratics([3, 3], rc.SGD(**full_batch(0.1, 1)), rounds=8, mode=mode)
    done = train(experiment)
    versions, state, stale = [torch.zeros(4)], {}, 0
    for version in range(8):
        work, state = mode.assign(["agent-0", "agent-1"], state, version=version, seed=0)
        (job,) = work
        stale += version - job.version
        versions.append(versions[-1] - 0.1 * gradient(columns[int(job.agent[-1])], versions[job.version]))
    torch.testing.assert_close(done.params, versions[-1], rtol=1e-5, atol=1e-6)
    assert stale > 0  # else this would be the synchronous case


class Fixed(rc.Mode):
    """The first agent starts one version late, once there is one, at half its weight."""

    horizon = 2

    def assign(self, selected, state, *, version, seed):
        late = max(0, version - 1)
        return [
            rc.Assignment(selected[0], late, discount=0.5),
            *(rc.Assignment(n, version) for n in selected[1:]),
        ], state


def test_a_discount_holds_whatever_weight_a_rule_gives():
    """Two agents of sizes 1 and 3, the first at half its weight: shares 0.5 : 3 by examples, 0.5 : 1 if uniform."""
    for weights, share in (("examples", 0.5 / 3.5), ("uniform", 0.5 / 1.5)):
        experiment, columns = quadratics([1, 3], rc.SGD(**full_batch(0.1, 1)), rc.Mean(weights), rounds=1, mode=Fixed())
        steps = [-0.1 * gradient(held, torch.zeros(4)) for held in columns]
        torch.testing.assert_close(train(experiment).params, share * steps[0] + (1 - share) * steps[1])


def test_the_clock_survives_a_restart():
    never = train(digits(ONE_STEP, mode=Buffered(), rounds=6))
    killed = Training(digits(ONE_STEP, mode=Buffered(), rounds=6)).steps(3)
    assert len(killed.driver._versions) == 4  # of the horizon: agents still at work may have started there
    resumed = Training(digits(ONE_STEP, mode=Buffered(), rounds=6), folder=killed.folder)
    assert resumed.driver.version == 3
    assert resumed.finish().bits() == never.bits()
