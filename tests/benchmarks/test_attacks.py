"""The attacks stay alive: a tiny version of each, and its parts by hand."""

import math
import os

import numpy as np
import pytest
import torch

from benchmarks.attacks import inversion, membership
from benchmarks.attacks.__main__ import ATTACKS, table

needs_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


@needs_data
@pytest.mark.long
@pytest.mark.parametrize("name", ATTACKS)
def test_a_tiny_version_runs_and_prints_its_table(name):
    module = pytest.importorskip(f"benchmarks.attacks.{name}")
    measured = module.measure(0, tiny=True)
    assert all(not math.isnan(value) for row in measured.values() for value in row.values())
    text = table([measured])
    assert all(f"| {row} | " in text for row in measured)


def test_ssim_of_equal_and_of_unrelated_images():
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(inversion._ssim(images, images), torch.ones(3))
    assert inversion._ssim(images, images.flip(0))[0] < 0.3


def test_lira_tells_members_from_others_by_each_image_s_own_models():
    """Images differ more in difficulty than membership changes: loss alone says little, LiRA nearly all."""
    generator = np.random.default_rng(0)
    member = generator.random((16, 500)) < 0.5
    scores = 10 * generator.normal(size=500) + 2.0 * member + 0.5 * generator.normal(size=member.shape)
    ratio = membership._lira(scores, member, 0)
    accuracy = ((ratio > 0) == member[0]).mean()
    assert accuracy > 0.95
    assert abs(((scores[0] > 1.0) == member[0]).mean() - 0.5) < 0.1
