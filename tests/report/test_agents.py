"""The table of agents, and who drifts from the rest."""

import io
import math

import numpy as np
import pytest
from rich.console import Console

from raycollab.report import agent_table, flag_drift


def lines(rows, *arguments, **settings) -> list[str]:
    """The table as a person sees it."""
    console = Console(file=io.StringIO(), width=200)
    console.print(agent_table(rows, *arguments, **settings))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("values", "higher_is_better", "expected"),
    [
        # Median 0.8, deviations 0.02 0.01 0 0.01 0.3, MAD 0.01: scaled 0.0148, so the floor holds: the limit is 0.06.
        ({"a": 0.82, "b": 0.81, "c": 0.8, "d": 0.79, "e": 0.5}, True, {"e"}),
        # The same values as a loss: the lowest is the best, and none is above 0.86.
        ({"a": 0.82, "b": 0.81, "c": 0.8, "d": 0.79, "e": 0.5}, False, set()),
        # As a loss, 1.1 is above 0.8 + 0.06.
        ({"a": 0.82, "b": 0.81, "c": 0.8, "d": 0.79, "e": 1.1}, False, {"e"}),
        # Median 0.5, MAD 0.1: the limit is 3 * 0.14826 = 0.445; 0.06 is 0.44 below, 0.05 is 0.45 below.
        ({"a": 0.7, "b": 0.6, "c": 0.5, "d": 0.4, "e": 0.06}, True, set()),
        ({"a": 0.7, "b": 0.6, "c": 0.5, "d": 0.4, "e": 0.05}, True, {"e"}),
        # All agree (MAD 0) but one: below the limit of 0.06, then above it.
        ({"a": 0.9, "b": 0.9, "c": 0.9, "d": 0.85}, True, set()),
        ({"a": 0.9, "b": 0.9, "c": 0.9, "d": 0.83}, True, {"d"}),
        # Two agents are equally far from their median.
        ({"a": 1.0, "b": 0.0}, True, set()),
        # A diverged loss drifts; an agent without validation data (nan) does not; if most diverged, there is no rest.
        ({"a": 1.0, "b": 1.0, "c": 1.0, "d": math.inf} | dict.fromkeys("efghi", math.nan), False, {"d"}),
        ({"a": 1.0, "b": math.inf, "c": math.inf}, False, set()),
        ({"a": math.nan}, True, set()),
        ({}, True, set()),
    ],
)
def test_flag_drift_by_hand(values, higher_is_better, expected):
    """The derivation stands above each case."""
    assert flag_drift(values, higher_is_better) == expected


def test_table_shows_the_columns_that_exist():
    """In a fixed order, with units; what an agent lacks is "-", and unknown keys are left out."""
    table = lines(
        [
            {
                "loss": 0.25,
                "agent": "north",
                "examples": 12000,
                "seconds": 3.14,
                "bytes_sent": 2_500_000,
                "secret": "key",
            },
            {"loss": np.float32(0.5), "agent": "south", "examples": np.int64(7), "failures": 2},
        ]
    )
    assert table[0].split() == ["agent", "examples", "loss", "seconds", "sent", "failed"]
    assert table[1].split() == ["north", "12,000", "0.2500", "3.1", "2.5", "MB", "-"]
    assert table[2].split() == ["south", "7", "0.5000", "-", "-", "2"]


@pytest.mark.parametrize(("primary", "worst"), [(("accuracy", True), 0.4), (("perplexity", False), 1.5)])
def test_table_marks_who_drifts(primary, worst):
    """By the primary metric on own validation data; a failed agent without a value is shown all the same."""
    values = {"a": 0.9, "b": 0.91, "c": 0.92, "d": worst}
    rows = [{"agent": name, f"val_{primary[0]}": value, "val_other": 0.0} for name, value in values.items()]
    table = lines([*rows, {"agent": "gone", f"val_{primary[0]}": None}], primary)
    assert "other" not in table[0]
    assert [row.split()[0] for row in table if "drifts" in row] == ["d"]
    assert any("gone" in row for row in table)
    assert not any("drifts" in row or "note" in row for row in lines(rows[:2], primary))


def test_a_short_table_shows_who_drifts_wherever_they_stand():
    rows = [{"agent": f"agent-{i}", "val_accuracy": 0.1 if i == 24 else 0.9} for i in range(30)]
    table = lines(rows, limit=3)
    assert [line.split()[0] for line in table[-3:]] == ["agent-0", "agent-1", "agent-24"]


def test_names_are_not_markup():
    """A party's name cannot paint or hide itself."""
    assert any("[red]mallory[/]" in row for row in lines([{"agent": "[red]mallory[/]", "loss": 1.0}]))


def test_no_agents_is_an_empty_table():
    """Neither columns nor rows."""
    assert agent_table([]).row_count == 0
