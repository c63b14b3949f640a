"""Trials that end early, sweeps that are cut off, and what a resume by the command makes of them."""

import json
import time

import pytest

from raycollab import cli
from raycollab.sweeps import search

from .test_sweeps import experiment, killed_in_its_second_trial, settings, written

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.cluster]
LR = " ".join(f"agents.learners.{place}.lr" for place in range(4))  # of all parties
GOOD, HOPELESS = 0.1, [1e-6, 2e-6, 3e-6]  # at these rates nothing is learned


def rates(*values):
    return {LR: {"grid": list(values)}}


def test_a_hopeless_trial_is_stopped(tmp_path, ray_cluster):
    """After the first round, in which it is worse than the one before it; without ASHA it goes on to the end."""
    base = experiment(f"--run.dir={tmp_path}", "--run.num_rounds=8")
    one_by_one = {"space": rates(GOOD, HOPELESS[0]), "num_samples": 1, "max_concurrent": 1}
    stopped = search(base, settings(scheduler="asha", **one_by_one)).rows
    assert [(row["settings"][LR], row["rounds"]) for row in stopped] == [(GOOD, 8), (HOPELESS[0], 1)]
    assert [row["error"] for row in stopped] == ["", ""]
    whole = search(base, settings(scheduler="none", **one_by_one)).rows
    assert [row["rounds"] for row in whole] == [8, 8]


def test_a_budget_cuts_a_sweep_off(tmp_path, ray_cluster):
    """Of rounds for hours: the trial stops where it is, its score counts, and the second one never begins."""
    base = experiment(f"--run.dir={tmp_path}", "--run.num_rounds=1000000")
    asked = settings(scheduler="none", budget_s=20.0, num_samples=2, max_concurrent=1)
    began = time.monotonic()
    rows = search(base, asked).rows
    assert 20 <= time.monotonic() - began < 200
    assert 1 <= rows[0]["rounds"] < 1_000_000
    assert rows[0]["accuracy"] is not None
    assert [row["error"] for row in rows] == [""] * len(rows)
    assert sum(row["rounds"] > 0 for row in rows) == 1


def test_asha_is_killed_and_resumed_by_the_command(tmp_path, ray_cluster, capsys):
    """kill -9 after the first trial: what had ended stays, and the rest are stopped by the scores from before."""
    file = written(tmp_path, space=rates(GOOD, *HOPELESS), scheduler="asha", num_samples=1, max_concurrent=1)
    folder = tmp_path / "sweep-001"
    killed_in_its_second_trial(file, folder, ray_cluster)
    (first,) = [each for each in folder.glob("*/result.json") if len(each.read_text().splitlines()) == 4]
    held = first.read_bytes()
    assert cli.main(["tune", "--resume", str(folder)]) == 0
    assert "4 trials, 0 of them failed: " in capsys.readouterr().out
    assert first.read_bytes() == held
    best, *others = json.loads((folder / "trials.json").read_text())
    assert (best["settings"][LR], best["rounds"]) == (GOOD, 4)
    assert sorted(row["settings"][LR] for row in others) == HOPELESS
    assert all(1 <= row["rounds"] <= 2 for row in others)  # one that was cut off goes on by a round
    assert [row["rounds"] for row in others if row["settings"][LR] == HOPELESS[1]] == [1]  # beside the best one's score
