from raycollab.report import changed
from raycollab.types import AgentReport, Change


def test_agents_that_did_the_same_share_a_line():
    branch = Change("Branch", "taken", "loss drifted")
    reports = [AgentReport(f"a{i}", changes=(branch,)) for i in range(5)]
    reports.append(AgentReport("b", changes=(Change("Branch", "rolled back", "the score fell"),)))
    assert changed(reports) == [
        "a0, a1, a2 and 2 more: Branch taken: loss drifted",
        "b: Branch rolled back: the score fell",
    ]
    assert changed([AgentReport("a")]) == []
