"""The script on credit default by columns stays alive, and its claims can fail."""

import os

import pytest

from benchmarks.papers.vertical_credit import NUMBERS, POOLED, SETTINGS, TOGETHER, claims, measured, tables

needs_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


@needs_data
def test_a_tiny_version_runs_and_prints_its_table():
    text = measured([0], tables(0.02), rounds=1)
    assert text.count("\n| ") == len(SETTINGS)
    assert text.count("hold") == 1 + len(NUMBERS) or text.count("HOLD") > 0


def test_claims_can_fail():
    figures = {TOGETHER: [0.77, 0.78], POOLED: [0.775, 0.785], **{party: [0.7, 0.7] for party in NUMBERS}}
    assert all(claims(figures).values())
    assert not all(claims({**figures, POOLED: [0.775, 0.791]}).values())
    assert not all(claims({**figures, "bills": [0.7, 0.79]}).values())
