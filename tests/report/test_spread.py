"""How far agents are apart."""

import math

from raycollab.report import spread


def test_worst_and_best_are_named():
    rows = [
        {"agent": "north", "val_accuracy": 0.5},
        {"agent": "south", "val_accuracy": 0.9},
        {"agent": "west", "val_accuracy": 0.7},
        {"agent": "north", "val_accuracy": 0.6},  # of a later round
        {"agent": "south", "val_accuracy": None},  # a round without evaluation, or one that it failed
        {"agent": "nobody", "val_accuracy": math.nan},  # nothing to validate on
    ]
    assert spread(rows, ("accuracy", True)) == (
        "agents' own accuracy  0.7000 median, 0.6000 worst (north), 0.9000 best (south), of 3 that validate"
    )


def test_of_a_loss_the_lowest_is_best():
    rows = [{"agent": "a", "val_loss": 1.0}, {"agent": "b", "val_loss": 3.0}]
    assert spread(rows, ("loss", False)) == (
        "agents' own loss  2.0000 median, 3.0000 worst (b), 1.0000 best (a), of 2 that validate"
    )


def test_of_their_test_sets():
    rows = [{"agent": "a", "val_loss": 1.0, "test_loss": 4.0}, {"agent": "b", "val_loss": 3.0, "test_loss": 2.0}]
    assert spread(rows, ("loss", False), "test") == (
        "agents' own test loss  3.0000 median, 4.0000 worst (a), 2.0000 best (b), of 2 with a test set"
    )


def test_one_agent_and_none():
    assert spread([{"agent": "a", "val_loss": 1.0}], ("loss", False)) == "agents' own loss  1.0000 (a)"
    assert spread([{"agent": "a"}], ("loss", False)) == ""
    assert spread([], ("loss", False)) == ""
