"""Laws of every selection in a run: who takes part depends on the experiment, its seed and what was learned so far."""

import math

import pytest

import raycollab as rc
from raycollab.selection import Candidate

from .rows import SELECTIONS, instances, short
from .support import Training, digits, train

each_selection = pytest.mark.parametrize("select", instances(SELECTIONS), ids=short)
LEARNER = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2, batch_size=8)


def case(select, **settings):
    """Three of eight agents a round."""
    run = {"agents_per_round": 3, "eval_every": 1000, **settings.pop("run", {})}
    settings = {"checkpoint": rc.CheckpointConfig(every=1000), **settings}
    return digits(LEARNER, select=select, rounds=7, run=run, **settings)


def chosen(done):
    return [tuple(sorted(agent.agent for agent in report.agents)) for report in done.reports]


@pytest.fixture(scope="module")
def done():
    """A case on one host, never stopped; each selection is run once."""
    known = {}

    def of(select):
        key = repr(select)
        if key not in known:
            known[key] = train(case(select))
        return known[key]

    return of


@each_selection
def test_as_many_as_were_asked_for_and_not_always_the_same(select, done):
    assert {len(names) for names in chosen(done(select))} == {3}
    assert len(set(chosen(done(select)))) > 1


@each_selection
@pytest.mark.parametrize("num_hosts", [2, 8])
def test_hosts_change_nothing(select, num_hosts, done):
    assert train(case(select), num_hosts=num_hosts).bits() == done(select).bits()


@each_selection
def test_seed(select, done):
    other = train(case(select, run={"seed": 1}))
    assert (chosen(other) == chosen(done(select))) == isinstance(select, rc.RoundRobin)


@each_selection
def test_restart(select, done):
    """Killed after round 5, when the newest checkpoint is of round 4."""
    killed = Training(case(select, checkpoint=rc.CheckpointConfig(every=2))).steps(5)
    resumed = Training(case(select), folder=killed.folder)
    assert resumed.driver.version == 4
    assert resumed.finish().bits() == done(select).bits()
    assert chosen(resumed) == chosen(done(select))[4:]


@pytest.mark.parametrize("select", [rc.PowerOfChoice(8), rc.LossAware(0.01)], ids=short)
def test_losses_are_what_a_restart_must_bring_back(select):
    """The known-bad input: a resumed run that has forgotten them chooses others."""
    never = train(case(select))
    killed = Training(case(select, checkpoint=rc.CheckpointConfig(every=2))).steps(4)
    resumed = Training(case(select), folder=killed.folder)
    roster = resumed.driver.roster
    assert any(not math.isnan(candidate.loss) for candidate in roster.candidates(5, least=1))
    roster.load_state_dict({**roster.state_dict(), "losses": {}})
    assert chosen(resumed.finish()) != chosen(never)[4:]


def test_power_of_choice_sees_everybody_once_then_the_highest_losses():
    """With all as candidates: eight agents in the first three rounds, then three of the highest newest losses."""
    done = train(case(rc.PowerOfChoice(8)))
    assert len({name for names in chosen(done)[:3] for name in names}) == 8
    known = {agent.agent: agent.loss for report in done.reports[:6] for agent in report.agents}
    assert set(chosen(done)[6]) == set(sorted(known, key=lambda name: -known[name])[:3])


@each_selection
def test_a_choice_is_in_the_candidates_order_and_without_repeats(select):
    candidates = [Candidate(f"agent-{i}", 1 + i, float(i % 3)) for i in range(8)]
    names = [candidate.name for candidate in candidates]
    for count in range(1, 7):
        found = select.select(candidates, count, round=2, seed=0)
        assert found == [name for name in names if name in set(found)]
        assert len(found) == count


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (rc.PowerOfChoice(2), "PowerOfChoice.candidates=2: a round takes 3 agents; draw at least that many"),
        (rc.ByWeight({"agent-0": 1.0}), "1 of 8 agents have a weight > 0, and a round takes 3"),
    ],
    ids=["PowerOfChoice", "ByWeight"],
)
def test_what_cannot_choose_enough_is_refused_before_the_run(select, message):
    with pytest.raises(rc.ConfigError, match=message):
        case(select).resolved()
