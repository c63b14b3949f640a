"""The scripts on contribution and on what a ledger costs stay alive."""

import os

import numpy as np
import pytest

from benchmarks import ledger_cost
from benchmarks.papers import contribution

needs_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


def test_rank_correlation():
    assert contribution.spearman(np.array([0.1, 0.5, 0.3]), np.array([1.0, 9.0, 2.0])) == pytest.approx(1)
    assert contribution.spearman(np.array([0.1, 0.5, 0.3]), np.array([9.0, 1.0, 2.0])) == pytest.approx(-1)


@needs_data
@pytest.mark.long
def test_a_tiny_version_runs_and_prints_its_table():
    made = contribution.settings(0, tiny=True)
    found = {name: [contribution.measured(made[name])] for name in ("null player", "free rider", "copy")}
    text = contribution.table(found)
    assert all(f"| {name} | " in text for name in found)
    assert all(row["efficiency"] < 1e-6 for rows in found.values() for row in rows)


def test_costs_are_printed():
    assert "| 1,000 | " in "\n".join(ledger_cost.by_size([1_000], 1))
    assert "| 3 | " in "\n".join(ledger_cost.by_agents([3], 1))
