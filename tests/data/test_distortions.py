"""Feature skew: known values, and that a row looks the same whoever reads it."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from raycollab.data import IID, Arrays, Blur, Digits, Distorted, Holdout, Noise, Rescale, Rotate, Shift
from raycollab.errors import ConfigError, DataError

IMAGES = torch.rand(5, 2, 6, 7, generator=torch.Generator().manual_seed(0))
ROWS = np.arange(5)
NOISE = [[0.34208074, 0.97888905, 0.06076129], [-0.31782153, -0.08518458, -1.0563754]]  # recorded
ALL = [Noise(0.3), Blur(0.8), Rotate(30), Rescale(2.0, -1.0), Shift(2)]


def test_blur_is_scipys():
    ours = Blur(1.2).apply(IMAGES, ROWS, 0)
    radius = int(np.ceil(3 * 1.2))
    theirs = gaussian_filter(IMAGES.numpy(), (0, 0, 1.2, 1.2), mode="reflect", radius=radius)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_rotate_by_a_right_angle_and_rescale():
    square = IMAGES[..., :6]
    torch.testing.assert_close(Rotate(90).apply(square, ROWS, 0), square.rot90(1, (2, 3)))
    assert Rescale(2.0, 1.0).apply(torch.tensor([[1.0, 3.0]]), ROWS[:1], 0).tolist() == [[3.0, 7.0]]


def test_shift_moves_each_image_by_its_own_pixels():
    """Every place within reach comes about as often, and edges go on as they are."""
    dot = torch.full((900, 1, 7, 9), -1.0)
    dot[:, :, 3, 4] = 1.0
    moved = Shift(1).apply(dot, np.arange(900), 4)
    assert torch.equal(moved, Shift(1).apply(dot, np.arange(900), 4))
    found, counts = moved.eq(1).nonzero()[:, 2:].unique(dim=0, return_counts=True)
    assert found.tolist() == [[line, point] for line in (2, 3, 4) for point in (3, 4, 5)]
    assert counts.sum() == 900
    assert counts.min() > 60  # 100 expected: four standard errors
    assert moved[:, :, [0, -1]].eq(-1).all()
    ramp = torch.arange(5.0).expand(20, 1, 5, 5)
    assert {tuple(row.tolist()) for row in Shift(1).apply(ramp, np.arange(20), 0)[:, 0, 0]} == {
        (0, 0, 1, 2, 3), (0, 1, 2, 3, 4), (1, 2, 3, 4, 4),
    }  # fmt: skip
    assert torch.equal(Shift(0).apply(IMAGES, ROWS, 0), IMAGES)


def test_noise_has_its_deviation_and_goes_by_row_and_seed():
    zeros = torch.zeros(4, 1000)
    drawn = Noise(0.5).apply(zeros, np.array([7, 1, 7, 2]), 3)
    assert abs(drawn.std() - 0.5) < 0.02  # 4 000 draws: three standard errors
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, Noise(0.5).apply(zeros, np.array([7, 1, 7, 2]), 4))


def test_the_same_noise_on_every_machine():
    drawn = Noise(1.0).apply(torch.zeros(2, 3), np.array([0, 9]), 5)
    torch.testing.assert_close(drawn, torch.tensor(NOISE))


@pytest.mark.parametrize("distortion", ALL, ids=repr)
def test_what_is_given_stays_as_it_is(distortion):
    before = IMAGES.clone()
    after = distortion.apply(IMAGES, ROWS, 0)
    assert torch.equal(IMAGES, before)
    assert after.shape == IMAGES.shape
    assert not torch.equal(after, IMAGES)


def test_a_row_looks_the_same_whoever_reads_it():
    whole = Distorted(Digits("all"), (Noise(0.1), Blur(0.5)), seed=2)
    images = whole.read()["image"]
    rows = IID(3).assign(whole.keys(()))
    for part, mine in zip(whole.split(IID(3)), rows, strict=True):
        torch.testing.assert_close(part.read()["image"], images[mine])
    test = Holdout(whole, "test").read()
    assert torch.equal(test["label"], Holdout(Digits("all"), "test").read()["label"])
    assert (test["image"] - Holdout(Digits("all"), "test").read()["image"]).abs().mean() > 0.01


def test_none_is_the_identity_and_describe_names_them():
    assert torch.equal(Distorted(Digits(), ()).read()["image"], Digits().read()["image"])
    assert Distorted(Digits(), (Blur(1.0), Noise(0.1))).describe() == "digits/train with Blur, Noise"


def test_refusals():
    with pytest.raises(ConfigError, match=r"Noise.std=-1.0: must be >= 0"):
        Noise(-1.0)
    with pytest.raises(ConfigError, match=r"Blur.sigma=0.0: must be > 0 pixels"):
        Blur(0.0)
    with pytest.raises(ConfigError, match=r"Shift.pixels=-1: must be >= 0 pixels"):
        Shift(-1)
    flat = Arrays({"x": torch.zeros(2, 3), "n": torch.zeros(2, dtype=torch.int64)})
    with pytest.raises(DataError, match="Blur: the column has shape"):
        Distorted(flat, (Blur(1.0),), "x").read()
    with pytest.raises(DataError, match=r"column 'n' holds torch.int64; there are: n, x; give floats"):
        Distorted(flat, (Noise(1.0),), "n").read()
    with pytest.raises(DataError, match="column 'image' is not there"):
        Distorted(flat, (Noise(1.0),)).read()
