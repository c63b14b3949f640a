"""What a run prints, from reports made by hand."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from raycollab.callbacks import Progress
from raycollab.callbacks.progress import summarised
from raycollab.metrics import Confusion, Statistics
from raycollab.result import Result
from raycollab.types import AgentCard, AgentReport, Begun, Failure, Notice, RoundReport, Started

ROW = {"round": 1, "examples": 40, "loss": 0.5, "norm": 1.0, "seconds": 0.25, "bytes_sent": 100, "failure": ""}


@pytest.fixture
def screen():
    console = Console(file=io.StringIO(), width=80, highlight=False)
    return Progress(console), console.file


def started(*names):
    cards = tuple(AgentCard(name, 40, "40 examples, 3 of 10 labels", "SGD") for name in names)
    return Started("runs/x", "f00d", 1234, 5, 0, cards, 2.5)


def test_a_line_on_each_agent_and_what_they_agreed_on(screen):
    """Names are shown as they are, also where they look like markup."""
    progress, text = screen
    progress.on_start(started("north", "p[/{}]"))
    assert "north" in text.getvalue()
    assert "p[/{}]" in text.getvalue()
    assert "2 agents agreed on task f00d: 1,234 parameters are exchanged; ready after 2.5 s" in text.getvalue()


def test_a_line_per_round_and_one_per_thing_that_went_wrong(screen):
    progress, text = screen
    progress.on_start(started("north", "south"))
    failures = (Failure("south", "Timeout", "no answer within 5 s", "left out of this round"),)
    report = RoundReport(
        1, {"accuracy": 0.5}, 0.7, 0.1, 1_000_000, 500_000, (AgentReport("north"),), failures, notes=("north: [b]late",)
    )
    retried = (Failure("north", "KeyError", "KeyError: 'x'", "asked again"),)
    progress.on_notice(Notice("the driver's process died"))
    progress.on_round(replace(report, retried=retried))
    assert "the driver's process died\n" in text.getvalue()
    assert "  north: KeyError: 'x'; asked again\n" in text.getvalue()
    assert "round   1/5  train loss 0.7000  accuracy 0.5000  1 agents  1.50 MB  0.10 s" in text.getvalue()
    assert "  south: Timeout: no answer within 5 s; left out of this round\n" in text.getvalue()
    assert "north: [b]late" in text.getvalue()


def test_the_end_shows_agents_report_folder_and_next_step(screen):
    progress, text = screen
    progress.on_start(started("a", "b"))
    rows = [{"agent": f"agent-{i}", "val_accuracy": 0.1 if i == 24 else 0.9, **ROW} for i in range(30)]
    labels = torch.tensor([0, 1])
    confusion = Confusion.of(labels, labels, 2)
    statistics = Statistics.of({"confusion": confusion})
    progress.on_end(Result("runs[/b]x", {}, [{"round": 1}], rows, statistics, ("accuracy", True), "target", 3.0))
    shown = text.getvalue()
    assert "ended after 1 rounds: target" in shown
    assert [line.split()[0] for line in shown.splitlines() if "drifts" in line] == ["agent-24", "drifts:"]
    assert "drifts: the model scores far worse on this agent's own validation data" in shown
    # the heading of val_accuracy, the report's line, the agents' spread, and how uneven it is
    assert shown.count("accuracy") == 4
    assert "... and 10 more agents, in agents.parquet" in shown
    assert "macro avg" in shown
    assert "run folder: runs[/b]x" in shown
    assert "next: raycollab evaluate 'runs[/b]x'" in shown


def test_an_agents_rounds_in_one_row():
    """Seconds and bytes add up, scores are the newest, and a failed round counts as one."""
    second = {**ROW, "agent": "a", "round": 2, "loss": 0.25, "val_accuracy": 0.75}
    third = {"agent": "a", "round": 3, "failure": "Timeout: no answer"}
    (row,) = summarised([{**ROW, "agent": "a"}, second, third], {"a": "SGD"})
    assert (row["rounds"], row["failures"], row["seconds"], row["bytes_sent"]) == (2, 1, 0.5, 200)
    assert (row["loss"], row["val_accuracy"], row["learner"]) == (0.25, 0.75, "SGD")


@pytest.mark.parametrize(("pool", "says"), [("ray", True), ("local", False), ("", False)])
def test_what_is_about_to_start_and_what_to_know_beforehand(screen, pool, says):
    progress, text = screen
    progress.on_begin(Begun(pool, {"a": "SGD", "b": "Prox"}, ("b misbehaves: [nan]",), ("Krum(f=0) tolerates 0",)))
    assert ("starting Ray and 2 agents ..." in text.getvalue()) == says
    assert "b misbehaves: [nan]\nwarning: Krum(f=0) tolerates 0\n" in text.getvalue()


def test_the_end_says_what_was_private(screen):
    progress, text = screen
    result = Result("runs/x", {}, [{"round": 1}], [], Statistics.empty(), ("accuracy", True), "target", 3.0)
    progress.on_end(result)
    assert "Not exchanged" not in text.getvalue()
    progress.on_end(replace(result, private=("head.weight", "head.bias")))
    assert "Not exchanged: head.weight, head.bias. Each agent has its own; in model/" in text.getvalue()
    assert 'rc.load("runs/x", agent="NAME")' in text.getvalue()
