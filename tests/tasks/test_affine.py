"""Turned, moved, scaled and slanted images: what was drawn is read back from slopes."""

import math

import pytest
import torch

import raycollab as rc
from raycollab.errors import ConfigError
from raycollab.tasks import RandomAffine

STILL = {"degrees": 0.0, "translate": 0.0, "scale": (1.0, 1.0), "shear": 0.0}
COUNT, HEIGHT, WIDTH = 400, 33, 45


def drawn(augmentation, images, seed=0):
    torch.manual_seed(seed)
    return augmentation.apply(images)


def read_back(**changed):
    """Where the middle comes from [b, 2], and the matrix from new to old places [b, 2, 2], x first, in pixels."""
    x = torch.arange(float(WIDTH)).expand(COUNT, 1, HEIGHT, WIDTH) - WIDTH // 2
    y = torch.arange(float(HEIGHT))[:, None].expand(COUNT, 1, HEIGHT, WIDTH) - HEIGHT // 2
    found = drawn(RandomAffine(**{**STILL, **changed}), torch.cat([x, y], 1))
    row, column = HEIGHT // 2, WIDTH // 2
    middle = found[:, :, row, column]
    matrix = torch.stack([found[:, :, row, column + 1] - middle, found[:, :, row + 1, column] - middle], 2)
    return middle, matrix


def test_nothing_asked_is_the_image_itself():
    images = torch.rand(3, 2, 6, 5)
    torch.testing.assert_close(drawn(RandomAffine(**STILL), images), images)


def test_a_turn_is_a_rotation_about_the_middle_also_of_images_that_are_no_squares():
    middle, matrix = read_back(degrees=30.0)
    torch.testing.assert_close(middle, torch.zeros_like(middle), rtol=0, atol=1e-4)
    torch.testing.assert_close(matrix.transpose(1, 2) @ matrix, torch.eye(2).expand(COUNT, 2, 2), rtol=0, atol=1e-4)
    degrees = torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert -30 <= degrees.min() < -28
    assert 28 < degrees.max() <= 30


def test_a_shift_is_a_share_of_each_side():
    middle, matrix = read_back(translate=0.2)
    torch.testing.assert_close(matrix, torch.eye(2).expand(COUNT, 2, 2), rtol=0, atol=1e-4)
    for axis, side in enumerate((WIDTH, HEIGHT)):
        assert 0.19 * side < middle[:, axis].abs().max() <= 0.2 * side
    assert abs(torch.corrcoef(middle.T)[0, 1]) < 0.2


def test_a_scale_is_the_factor_of_both_sides():
    """An image of twice the size is read off at half of the steps; as many are drawn smaller as larger."""
    _, matrix = read_back(scale=(0.5, 2.0))
    larger = 1 / matrix[:, 0, 0]
    torch.testing.assert_close(matrix, torch.eye(2) * (1 / larger)[:, None, None], rtol=0, atol=1e-4)
    assert 0.5 <= larger.min() < 0.52
    assert 1.95 < larger.max() <= 2.001
    assert 0.4 < (larger < 1).float().mean() < 0.6


def test_a_slant_pushes_rows_along():
    _, matrix = read_back(shear=0.4)
    columns, rows = torch.tensor([1.0, 0.0]).expand(COUNT, 2), torch.ones(COUNT)
    torch.testing.assert_close(matrix[:, :, 0], columns, rtol=0, atol=1e-4)
    torch.testing.assert_close(matrix[:, 1, 1], rows, rtol=0, atol=1e-4)
    assert 0.38 < matrix[:, 0, 1].max() <= 0.4 + 1e-4
    assert -0.4 - 1e-4 <= matrix[:, 0, 1].min() < -0.38


def test_together_they_are_a_slant_then_a_scale_then_a_turn():
    """Determinant 1 / scale^2: turns and slants keep areas."""
    _, matrix = read_back(degrees=20.0, scale=(0.8, 1.25), shear=0.3)
    larger = 1 / torch.linalg.det(matrix).sqrt()
    assert 0.8 - 1e-3 <= larger.min() < 0.83
    assert 1.2 < larger.max() < 1.25 + 1e-3
    turned_back = torch.linalg.inv(matrix[:, :, :])  # from old to new places: turn * scale * slant
    degrees = torch.rad2deg(torch.atan2(turned_back[:, 1, 0], turned_back[:, 0, 0]))
    assert degrees.abs().max() <= 20 + 1e-2


def test_beyond_the_edge_there_is_the_edge():
    """A plain image stays plain, whatever is drawn."""
    plain = torch.full((50, 1, 9, 9), 3.0)
    torch.testing.assert_close(drawn(RandomAffine(60.0, 0.5, (0.3, 2.0)), plain), plain)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"degrees": 200.0}, r"RandomAffine.degrees=200.0: must be in \[0, 180\]"),
        ({"translate": 1.0}, r"RandomAffine.translate=1.0: must be in \[0, 1\)"),
        ({"scale": (1.2, 0.8)}, r"RandomAffine.scale=\(1.2, 0.8\): must be two factors > 0, the smaller first"),
        ({"shear": math.nan}, "RandomAffine.shear=nan: must be >= 0"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        rc.tasks.RandomAffine(**settings)
