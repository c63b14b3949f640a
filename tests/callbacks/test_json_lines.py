"""What a run writes for machines."""

import json

import pytest

from raycollab.callbacks import JsonLines, Progress, watchers
from raycollab.errors import ConfigError
from raycollab.metrics import Statistics
from raycollab.result import Result
from raycollab.types import AgentCard, AgentReport, Begun, Failure, Notice, RoundReport, Started

FAILED = (Failure("b", "Timeout", "no answer within 5 s", "left out of this round"),)
ROUND = RoundReport(1, {"accuracy": 0.5}, 0.7, 0.1, 100, 50, (AgentReport("a"),), FAILED)


def told(lines):
    """A whole run."""
    lines.on_begin(Begun("ray", {"a": "SGD"}, warnings=("odd",)))
    lines.on_start(Started("runs/x", "f00d", 1234, 5, 0, (AgentCard("a", 40, "40 examples", "SGD"),), 2.5))
    lines.on_notice(Notice("the driver's process\ndied"))
    lines.on_round(ROUND)
    primary = ("accuracy", True)
    lines.on_end(Result("runs/x", {"accuracy": 0.5}, [{"round": 1}], [], Statistics.empty(), primary, "t", 3.0))


def test_an_object_a_line_for_all_that_happens(tmp_path):
    """Also where a text has several lines; a file that is there is added to."""
    for _ in range(2):
        told(JsonLines(str(tmp_path / "log")))
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [row["event"] for row in rows] == ["begin", "start", "notice", "round", "end"] * 2
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert rows[0]["warnings"] == ["odd"]
    assert (rows[1]["run"], rows[1]["agents"]) == ("runs/x", ["a"])
    assert (rows[3]["round"], rows[3]["accuracy"], rows[3]["bytes_up"]) == (1, 0.5, 100)
    assert rows[3]["agent_rows"][1]["failure"] == "Timeout: no answer within 5 s"
    assert (rows[4]["stop_reason"], rows[4]["metrics"]) == ("t", {"accuracy": 0.5})


def test_to_stderr(capsys):
    JsonLines().on_notice(Notice("x"))
    assert json.loads(capsys.readouterr().err)["text"] == "x"


def test_a_place_that_cannot_be_written_is_refused_at_once_and_a_full_disk_ends_no_run(tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"JsonLines\(path='.*/no/log'\): cannot be written: .*No such file"):
        JsonLines(str(tmp_path / "no" / "log"))
    JsonLines("/dev/full").on_notice(Notice("x"))
    said, line = capsys.readouterr().err.splitlines()
    assert said == "/dev/full: [Errno 28] No space left on device"
    assert json.loads(line)["text"] == "x"


@pytest.mark.parametrize(("setting", "kinds"), [(None, [Progress]), ("", [Progress]), ("-", [Progress, JsonLines])])
def test_the_command_line_writes_them_where_a_variable_says_so(monkeypatch, setting, kinds):
    monkeypatch.delenv("RAYCOLLAB_LOG", raising=False)
    if setting is not None:
        monkeypatch.setenv("RAYCOLLAB_LOG", setting)
    assert [type(each) for each in watchers()] == kinds
