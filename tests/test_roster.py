"""Who can be selected: by hand, with two agents that answer and one that does not."""

import pytest

from raycollab.config import FailureConfig
from raycollab.roster import Roster
from raycollab.types import AgentCard, AgentReport, Failure

LATE = Failure("c", "Timeout", "no answer within 5 s")


def roster(**policy):
    made = Roster(("a", "b", "c"), FailureConfig(**policy))
    made.open([AgentCard(name, 10, "", "") for name in "abc"])
    return made


def names(made, round, least=1):
    return [candidate.name for candidate in made.candidates(round, least)]


def committed(made, round, *failures):
    answered = [AgentReport(name, loss=0.5) for name in "abc" if name not in [failure.agent for failure in failures]]
    return made.committed(round, answered, failures)


def test_who_fails_so_often_in_a_row_is_left_out_for_a_while():
    made = roster(quarantine_after=2, quarantine_rounds=3)
    (first,) = committed(made, 1, LATE)
    assert first.decision == "left out of this round"
    (second,) = committed(made, 2, LATE)
    assert second.decision == "failed 2 rounds in a row: in quarantine until round 5"
    assert [names(made, round) for round in (3, 5, 6)] == [["a", "b"], ["a", "b"], ["a", "b", "c"]]
    assert made.quarantined(3) == {"c": 5}
    assert made.quarantined(6) == {}


def test_an_answer_in_between_begins_the_count_anew():
    made = roster(quarantine_after=2)
    committed(made, 1, LATE)
    committed(made, 2)
    committed(made, 3, LATE)
    assert names(made, 4) == ["a", "b", "c"]


@pytest.mark.parametrize("policy", [{"quarantine_after": None}, {"quarantine_after": 9}])
def test_a_quarantine_that_is_not_wanted(policy):
    made = roster(**policy)
    for round in range(1, 9):
        committed(made, round, LATE)
    assert names(made, 9) == ["a", "b", "c"]


def test_an_actor_that_is_not_there_is_not_its_agents_fault():
    made = roster(quarantine_after=1)
    (failure,) = committed(
        made, 1, Failure("c", "ActorUnavailableError", "still starting", "left out until it is there")
    )
    assert failure.decision == "left out until it is there"
    assert names(made, 2) == ["a", "b", "c"]


def test_a_round_that_cannot_do_without_those_in_quarantine_takes_them():
    made = roster(quarantine_after=1)
    committed(made, 1, LATE)
    assert names(made, 2, least=2) == ["a", "b"]
    assert names(made, 2, least=3) == ["a", "b", "c"]


def test_what_is_decided_elsewhere_is_kept():
    (failure,) = committed(roster(), 1, Failure("c", "ActorDiedError", "died", "its actor is replaced"))
    assert failure.decision == "its actor is replaced"


def test_members_come_and_go():
    made = roster()
    made.join(AgentCard("d", 5, "", ""), {"class_path": "x"})
    made.committed(1, [AgentReport("d", remembers=True, fresh=True)], [])
    assert made.joined == {"d": {"slot": 0, "agent": {"class_path": "x"}}}
    assert (made.memory, made.rejoined) == ({"d": 1}, {"d": 1})
    made.leave("d")
    made.leave("a")
    assert (made.names, made.size, made.memory, made.joined, made.num_joined) == (["b", "c"], 2, {}, {}, 1)


def test_a_state_brings_all_of_it_back():
    made = roster(quarantine_after=1, quarantine_rounds=3)
    made.join(AgentCard("d", 5, "", ""), "recipe")
    made.leave("b")
    made.committed(1, [AgentReport("a", loss=0.25, remembers=True)], [LATE])
    state = made.state_dict()
    other = roster(quarantine_after=1)
    other.open([AgentCard("d", 5, "", "")])
    other.load_state_dict(state)
    assert names(other, 2) == names(made, 2) == ["a", "d"]
    assert other.candidates(2, 1) == made.candidates(2, 1)
    assert other.state_dict() == state
    made.committed(2, [AgentReport("a", remembers=True)], [])
    assert state["memory"] == {"a": 1}  # a state that is being written does not change any more


def test_what_is_known_of_an_agent_survives_a_resume_without_it():
    """It cannot be opened when the run goes on; once it can again, selection knows its loss as if nothing had been."""
    made = roster()
    committed(made, 1)
    without = Roster(("a", "b", "c"), FailureConfig())
    without.open([AgentCard(name, 10, "", "") for name in "ab"])
    without.load_state_dict(made.state_dict())
    without.committed(2, [AgentReport("a", loss=0.25), AgentReport("b", loss=0.5)], [])
    back = roster()
    back.load_state_dict(without.state_dict())
    assert [candidate.loss for candidate in back.candidates(3, 1)] == [0.25, 0.5, 0.5]


def test_whose_budget_is_spent_is_not_selected_any_more():
    """Also where a round could not do without; and it is remembered."""
    made = roster(quarantine_after=1, quarantine_rounds=9)
    made.committed(1, [AgentReport("a", last=True), AgentReport("b")], [Failure("c", "BudgetError", "spent")])
    assert names(made, 2) == names(made, 2, least=3) == ["b"]
    assert made.size == 1
    assert made.spent == {"a": 1, "c": 1}
    again = roster()
    again.load_state_dict(made.state_dict())
    assert names(again, 2) == ["b"]
    again.leave("a")
    assert again.spent == {"c": 1}


def test_what_is_done_about_a_budget_that_is_spent():
    (failure,) = roster().committed(1, [], [Failure("c", "BudgetError", "spent")])
    assert failure.decision == "its privacy budget is spent: not selected any more"


def test_shares_of_a_round():
    """Of three agents one is in quarantine: two asked are 2/3 of all, and all of those that could be."""
    made = roster(quarantine_after=1, quarantine_rounds=9)
    committed(made, 1, LATE)
    assert made.shares(2, 2) == {"participation": pytest.approx(2 / 3), "sample_rate": 1.0}
    assert made.shares(2, 1)["sample_rate"] == 0.5


def test_examples_are_those_of_members():
    """An agent may have left while a round that waits for nobody still has its work."""
    members = roster()
    known = members.examples(("a", "c"))
    assert set(known) == {"a", "c"}
    members.leave("c")
    assert members.examples(("a", "c")) == {"a": known["a"]}
