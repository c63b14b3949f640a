"""Laws of every mode in a run, and agents that start from versions that are no longer the newest."""

from dataclasses import dataclass, replace

import pytest
import torch

import raycollab as rc
from raycollab.runtime.pool import Layout

from .rows import MODES, instances, short
from .support import ONE_STEP, Training, digits, full_batch, gradient, quadratics, train

ROUNDS = 6
STATEFUL = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2, batch_size=8)
each_mode = pytest.mark.parametrize("mode", instances(MODES), ids=short)
SPEEDS = rc.PerAgent({f"agent-{i}": 1.0 + 1.7 * i for i in range(4)})
QUICK = {"checkpoint": rc.CheckpointConfig(every=1000), "run": {"eval_every": 1000}}  # only at the end


def case(mode, **settings):
    """Five of eight agents selected in a round, with memory of their own."""
    run = {"agents_per_round": 5, "eval_every": 1000, **settings.pop("run", {})}
    return digits(STATEFUL, mode=mode, **{**QUICK, "rounds": ROUNDS, "run": run, **settings})


@pytest.fixture(scope="module")
def done():
    """A case on one host, never stopped; each mode is run once."""
    known = {}

    def of(mode):
        if mode not in known:
            known[mode] = train(case(mode))
        return known[mode]

    return of


@each_mode
def test_every_round_has_as_many_updates_as_the_mode_says(mode, done):
    assert all(len(report.agents) >= mode.updates_per_round(5) for report in done(mode).reports)
    assert not [failure for report in done(mode).reports for failure in report.failures]


@each_mode
def test_seed(mode, done):
    assert train(case(mode)).bits() == done(mode).bits()
    assert train(case(mode, run={"seed": 1})).bits() != done(mode).bits()


@each_mode
@pytest.mark.parametrize("num_hosts", [3, 8])
def test_hosts_and_the_order_of_running_change_nothing(mode, num_hosts, done, monkeypatch):
    blocks_of = Layout.blocks_of
    monkeypatch.setattr(Layout, "blocks_of", lambda *args: blocks_of(*args)[::-1])
    assert train(case(mode), num_hosts=num_hosts).bits() == done(mode).bits()


@each_mode
def test_restart(mode, done):
    """Killed after round 5, when the newest checkpoint is of round 4; agents may have been at work since round 1."""
    every_second = rc.CheckpointConfig(every=2)
    killed = Training(case(mode, checkpoint=every_second)).steps(5)
    assert len(killed.driver._versions) == min(6, mode.horizon)
    resumed = Training(case(mode, checkpoint=every_second), folder=killed.folder)
    assert resumed.driver.version == 4
    assert resumed.finish().bits() == done(mode).bits()


@each_mode
def test_redoing_a_half_done_round_changes_nothing(mode, done):
    training = Training(case(mode)).steps(4)
    driver = training.driver
    selected = driver.plan.select.select(driver.roster.candidates(5, 1), 5, round=5, seed=0)
    work, _ = driver.plan.mode.assign(selected, driver._mode_state, version=4, seed=0)
    driver._collecting._run(driver._draft, 0, work[:1], driver.roster, None)
    assert training.finish().bits() == done(mode).bits()


@pytest.mark.parametrize("mode", [mode for mode in instances(MODES) if mode != rc.Synchronous()], ids=short)
def test_every_mode_differs_from_synchronous_rounds(mode, done):
    assert not torch.equal(done(mode).params, done(rc.Synchronous()).params)


def stale_rounds(mode, columns, rounds, merge):
    """The reference: all versions are kept, and the mode says who began where; merge(w, [(end, delta, discount)])."""
    versions, state, stale = [torch.zeros(4)], mode.init(), 0
    for version in range(rounds):
        names = [f"agent-{i}" for i in range(len(columns))]
        work, state = mode.assign(names, state, version=version, seed=0)
        found = []
        for job in work:
            stale += version - job.version
            delta = -0.1 * gradient(columns[int(job.agent[-1])], versions[job.version])
            found.append((versions[job.version] + delta, delta, job.discount))
        versions.append(merge(versions[-1], found))
    assert stale > 0  # else this would be the synchronous case
    return versions[-1]


@pytest.mark.parametrize(
    ("size", "rule", "merge"),
    [
        (1, rc.Mean(), lambda w, found: w + found[0][1]),  # the only discount of a round cancels
        (2, rc.Mean(), lambda w, found: w + sum(s * d for _, d, s in found) / sum(s for _, _, s in found)),
        (1, rc.FedBuff(lr=0.5), lambda w, found: w + 0.5 * found[0][2] * found[0][1]),
        (2, rc.FedBuff(), lambda w, found: w + sum(s * d for _, d, s in found) / 2),
        (1, rc.FedAsync(0.6), lambda w, found: (1 - 0.6 * found[0][2]) * w + 0.6 * found[0][2] * found[0][0]),
    ],
    ids=["Mean of one", "Mean of two", "FedBuff of one", "FedBuff of two", "FedAsync"],
)
def test_asynchronous_rules_are_their_formulas(size, rule, merge):
    mode = rc.Buffered(size, max_staleness=4)
    experiment, columns = quadratics([3, 3, 3], rc.SGD(**full_batch(0.1, 1)), rule, rounds=8, mode=mode)
    expected = stale_rounds(mode, columns, 8, merge)
    torch.testing.assert_close(train(experiment).params, expected, rtol=1e-5, atol=1e-6)


def test_cyclic_is_one_agent_after_another():
    """Seven rounds of three agents: a, b, c, a, b, c, a, each from where the one before it ended."""
    experiment, columns = quadratics([3, 5, 2], rc.SGD(**full_batch(0.1, 2)), rounds=7, mode=rc.Cyclic())
    w = torch.zeros(4)
    for turn in range(7):
        for _ in range(2):
            w = w - 0.1 * gradient(columns[turn % 3], w)
    torch.testing.assert_close(train(experiment).params, w, rtol=1e-5, atol=1e-6)


def test_a_round_with_a_deadline_is_one_of_those_who_are_ready():
    """Agents take 1, 2.7, 4.4 and 6.1: by 3 the first two are ready, and by 1 one of them is too few."""
    mode = rc.SemiSynchronous(3.0, SPEEDS)
    experiment, columns = quadratics([3, 3, 3, 3], rc.SGD(**full_batch(0.1, 1)), rounds=3, mode=mode)
    w = torch.zeros(4)
    for _ in range(3):
        w = w - 0.1 * (gradient(columns[0], w) + gradient(columns[1], w)) / 2
    torch.testing.assert_close(train(experiment).params, w, rtol=1e-5, atol=1e-6)
    waits = train(replace(experiment, mode=rc.SemiSynchronous(1.0, SPEEDS, min_agents=3)))
    assert {tuple(agent.agent for agent in report.agents) for report in waits.reports} == {
        ("agent-0", "agent-1", "agent-2")
    }


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


@dataclass(frozen=True)
class FailsInRound(rc.SGD):
    index: int = 1

    def update(self, problem, params, state, round):
        if round.index == self.index:
            raise RuntimeError("out of memory")
        return super().update(problem, params, state, round)


@dataclass(frozen=True)
class Broken(rc.SGD):
    """Never delivers."""

    def update(self, problem, params, state, round):
        raise RuntimeError("broken")


@pytest.mark.parametrize("mode", [rc.Buffered(1), rc.Buffered(2), rc.Cyclic()], ids=repr)
def test_a_broken_agent_does_not_stop_a_mode_that_can_take_another(mode):
    """The next attempt goes on from where the mode is: the next one ready, the next one's turn."""
    policy = rc.FailureConfig(min_agents=mode.updates_per_round(8))
    done = train(digits([ONE_STEP] * 7 + [Broken()], mode=mode, rounds=12, failure=policy, **QUICK))
    assert [report.index for report in done.reports] == list(range(1, 13))
    again = [report for report in done.reports if report.attempts > 1]
    assert again
    assert {failure.agent for report in again for failure in report.failures} == {"agent-7"}


def test_an_agent_that_failed_is_idle_and_starts_again():
    """Of two agents that take turns, the one whose update failed comes back with one of a newer version."""
    mode = rc.Buffered(2, durations=rc.PerAgent({}))
    learners = [ONE_STEP, FailsInRound(lr=0.1, steps=1, batch_size=8)]
    reports = train(digits(learners, num_agents=2, mode=mode, rounds=2)).reports
    assert [failure.agent for failure in reports[0].failures] == ["agent-1"]
    assert [agent.agent for agent in reports[1].agents] == ["agent-0", "agent-1"]


@dataclass(frozen=True)
class OfThree(rc.Mean):
    """Means nothing with fewer than three updates."""

    min_updates = 3


@pytest.mark.parametrize(
    ("mode", "brings"),
    [(rc.Buffered(2), 2), (rc.Cyclic(), 1), (rc.SemiSynchronous(1e9), 1)],
    ids=["Buffered", "Cyclic", "SemiSynchronous"],
)
def test_a_rule_that_needs_more_updates_than_the_mode_brings_is_refused(mode, brings):
    with pytest.raises(
        rc.ConfigError, match=rf"OfThree.* needs 3 updates a round; .* of 8 agents brings {brings}: sel"
    ):
        digits(ONE_STEP, OfThree(), mode=mode).resolved()
    digits(ONE_STEP, OfThree(), mode=rc.Buffered(3)).resolved()


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (rc.Buffered(6), "Buffered.size=6: a round selects 5 agents, and no more are at work"),
        (rc.SemiSynchronous(1.0, min_agents=6), "SemiSynchronous.min_agents=6: a round selects 5 agents"),
    ],
    ids=["Buffered", "SemiSynchronous"],
)
def test_a_mode_that_needs_more_agents_than_are_selected_is_refused(mode, message):
    with pytest.raises(rc.ConfigError, match=message):
        case(mode).resolved()


def test_a_quorum_above_what_the_mode_brings_is_refused():
    with pytest.raises(rc.ConfigError, match=r"FailureConfig.min_agents=3: a round has only 2 agents"):
        case(rc.Buffered(2), failure=rc.FailureConfig(min_agents=3)).resolved()
    case(rc.Buffered(3), failure=rc.FailureConfig(min_agents=3)).resolved()


def with_controls(mode, rule=None, rounds=40):
    rule = rule or rc.Mean("uniform")
    learner = rc.Scaffold(rc.SGD(**full_batch(0.1, 3)))
    return quadratics([3, 5, 2, 4], learner, rule, rounds=rounds, mode=mode, **QUICK)


def offset(done):
    """How far the common control is from the mean of the agents' own: by that much the parameters end elsewhere."""
    own = [done.remembered(f"agent-{i}")["learner"]["control"] for i in range(4)]
    return float((done.driver.vectors["control"] - torch.stack(own).mean(0)).norm())


@dataclass(frozen=True)
class Unsaid(rc.Buffered):
    """Discounts without saying so."""

    discounts = False


@pytest.mark.parametrize("rule", [rc.Mean("uniform"), rc.FedBuff(), rc.FedAsync(0.5)], ids=short)
def test_controls_of_old_versions_are_right_as_long_as_nothing_is_discounted(rule):
    """SCAFFOLD: an agent corrects by the c of the version that it began with, and its own mean gradient is its new c_i.

    So c stays the mean of all c_i whatever the staleness. With discounts its changes no longer add up.
    """
    experiment, _ = with_controls(rc.Buffered(2, power=0.0), rule)
    assert offset(train(experiment)) < 1e-4
    assert offset(train(with_controls(Unsaid(2))[0])) > 1e-2


def test_asynchronous_scaffold_finds_the_common_minimum():
    experiment, columns = with_controls(rc.Buffered(2, power=0.0), rounds=150)
    best = sum((c["a"] * c["x"]).mean(0) for c in columns) / sum(c["a"].mean(0) for c in columns)
    assert float((train(experiment).params - best).norm()) < 1e-2


def test_discounts_of_what_agents_keep_in_step_with_are_refused():
    message = r"agent 'agent-0': Scaffold keeps .* in step with the common \['control'\], and Buffered.*: set its power"
    with pytest.raises(rc.ConfigError, match=message):
        with_controls(rc.Buffered(2))[0].resolved()
