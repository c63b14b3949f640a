"""The script for a GPU stays alive: its net, and a tiny run on the CPU."""

import os

import pytest
import torch

from benchmarks.papers.cifar10 import TINY, net, run

needs_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


def test_the_net_is_pages():
    assert sum(p.numel() for p in net().parameters()) == 6_573_120
    assert net(2)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@needs_data
@pytest.mark.long
@pytest.mark.parametrize("kind", ["iid", "dirichlet", "pooled"])
def test_a_tiny_run(kind):
    line, report = run(kind, TINY, 0)
    assert 0 <= line["accuracy"] <= 1
    assert line["seconds"] > 0
    assert "macro avg" in report
