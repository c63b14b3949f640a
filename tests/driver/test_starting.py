"""Who has to be there before the first round."""

import math
from dataclasses import replace

import pytest
import torch

from raycollab.checkpoint import RunFolder
from raycollab.config import FailureConfig
from raycollab.data import Arrays
from raycollab.driver import Driver
from raycollab.errors import DataError, TaskMismatchError
from raycollab.types import AgentCard, Failure

from .support import NAMES, TASK, Scripted, experiment, rows, scripted


def outcomes(*failed, error="DataError"):
    return [Failure(n, error, f"agent {n!r}: no file") if n in failed else AgentCard(n, 1, "", "") for n in NAMES]


@pytest.mark.parametrize(
    ("policy", "error", "kind"), [("replace", "DataError", DataError), ("stop", "TaskMismatchError", TaskMismatchError)]
)
def test_agents_that_cannot_start_are_all_named(tmp_path, policy, error, kind):
    pool = Scripted(outcomes=outcomes("a", "c", error=error))
    with pytest.raises(kind, match=r"2 of 3 agents could not start:\n  a: agent 'a': no file\n  c: agent 'c': no file"):
        scripted(tmp_path, pool, failure=FailureConfig(on_agent_failure=policy))


def test_of_many_agents_that_cannot_start_each_kind_of_failure_is_shown_once(tmp_path):
    """3,000 parts of 1,438 rows: three lines and two counts, not 3,000 lines."""
    empty = [
        Failure(f"p-{i}", "DataError", f"agent 'p-{i}': part {i} of 3000: 0 examples are left") for i in range(2996)
    ]
    others = [Failure(f"q-{i}", "DataError", f"agent 'q-{i}': no {what}") for i, what in enumerate("abcc")]
    with pytest.raises(DataError) as caught:
        scripted(tmp_path, Scripted(outcomes=[*empty, *others]))
    assert str(caught.value) == (
        "3000 of 3000 agents could not start:\n"
        "  p-0: agent 'p-0': part 0 of 3000: 0 examples are left (2,995 more like this)\n"
        "  q-0: agent 'q-0': no a\n"
        "  q-1: agent 'q-1': no b\n"
        "  ... and 2 others"
    )


def test_agents_that_cannot_start_may_be_skipped(tmp_path):
    pool = Scripted(outcomes=outcomes("b"))
    driver = scripted(tmp_path, pool, failure=FailureConfig(on_agent_failure="skip"))
    driver.step()
    assert pool.assigned == [["a", "c"]]
    with pytest.raises(DataError, match="2 of 3 agents could not start"):
        scripted(
            tmp_path,
            Scripted(outcomes=outcomes("a", "b")),
            failure=FailureConfig(on_agent_failure="skip", min_agents=2),
        )


@pytest.mark.parametrize(
    ("settings", "column", "value", "message"),
    [
        ({}, "label", 7, r"^the shared test set: arrays \(64 examples\): row 0 has label 7"),
        ({}, "features", math.nan, r"^the shared test set: arrays \(64 examples\): row 0 of column 'features'"),
        ({"bad_rows": "drop"}, "features", math.nan, "^the shared test set: .*: 0 examples"),
    ],
)
def test_the_shared_set_is_checked(tmp_path, settings, column, value, message):
    columns = rows(9, 64).read()
    bad = Arrays({**columns, column: torch.full_like(columns[column], value)})
    made = replace(experiment(task=replace(TASK, **settings)), test=bad)
    with pytest.raises(DataError, match=message):
        Driver(made.plan(), Scripted(), RunFolder.create(str(tmp_path))).start()
