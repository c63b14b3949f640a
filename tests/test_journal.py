from raycollab.journal import journal_row
from raycollab.metrics import Average, Statistics
from raycollab.types import AgentReport, Failure, RoundReport


def test_a_row_is_plain_and_complete():
    """One row per agent that answered, with its own score, and one per agent that failed, with the reason."""
    report = RoundReport(
        index=3,
        metrics={"accuracy": 0.5},
        train_loss=0.25,
        seconds=1.5,
        bytes_up=10,
        bytes_down=20,
        agents=(AgentReport("a", examples=2, loss=0.5, weight=2.0), AgentReport("c")),
        failures=(Failure("b", "OutOfMemoryError", "no memory for b"),),
        own_metrics={"a": {"loss": 1.0}},
        own_test={"a": {"loss": 2.0}, "c": {}},
        statistics=Statistics.of({"loss": Average("loss", 1.0, 1.0)}),
        attempts=2,
    )
    row = journal_row(report)
    assert (row["round"], row["agents"], row["failures"], row["attempts"]) == (3, 2, 1, 2)
    assert (row["accuracy"], row["train_loss"], row["bytes_up"], row["bytes_down"]) == (0.5, 0.25, 10, 20)
    assert {agent["agent"]: agent["failure"] for agent in row["agent_rows"]} == {
        "a": "",
        "c": "",
        "b": "OutOfMemoryError: no memory for b",
    }
    assert (row["agent_rows"][0]["val_loss"], row["agent_rows"][0]["test_loss"]) == (1.0, 2.0)
    assert "test_loss" not in row["agent_rows"][1]
    assert all(isinstance(value, int | float | str | list) for value in row.values())
