"""Neighbours: by hand, and against scikit-learn."""

import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from raycollab.quality.neighbours import features, nearest

POINTS = torch.randn(1500, 8, generator=torch.Generator().manual_seed(0))


def test_nearest_by_hand():
    places, distances = nearest(torch.tensor([[0.0], [1.0], [3.0], [3.5]]), 2)
    assert places.tolist() == [[1, 2], [0, 2], [3, 1], [2, 1]]
    torch.testing.assert_close(distances, torch.tensor([[1.0, 3.0], [1.0, 2.0], [0.5, 2.0], [0.5, 2.5]]))


def test_nearest_is_scikit_learns():
    """More rows than a block holds."""
    places, distances = nearest(POINTS, 5)
    theirs_apart, theirs = NearestNeighbors(n_neighbors=6).fit(POINTS).kneighbors(POINTS)
    assert torch.equal(places, torch.from_numpy(theirs[:, 1:]))
    torch.testing.assert_close(distances, torch.from_numpy(theirs_apart[:, 1:]).float(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_units_of_entries_and_of_whole_images_do_not_matter(unit):
    """Entries of a vector have units of their own; pixels of an image share one."""
    vectors = {"a": POINTS[:, :2] * torch.tensor([1.0, unit]), "b": POINTS[:, 2] * unit}
    plain = {"a": POINTS[:, :2], "b": POINTS[:, 2]}
    torch.testing.assert_close(features(vectors), features(plain), atol=1e-4, rtol=1e-4)
    images = torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(features({"i": images * unit + 3}), features({"i": images}), atol=1e-3, rtol=1e-3)


def test_missing_values_count_as_the_mean_and_constants_as_nothing():
    column = torch.tensor([[1.0, 7.0], [float("nan"), 7.0], [3.0, 7.0]])
    found = features({"x": column, "codes": torch.zeros(3, 2, 2, dtype=torch.int64)})
    assert found[1].tolist() == [0, 0]
    assert found[0, 0] == -found[2, 0]
    assert found[:, 1].tolist() == [0, 0, 0]


def test_long_tails_do_not_squeeze_the_rest():
    """Ranks 0.5, 2 (twice), 3.5 of four values, at variance 1; whatever the largest is."""
    ranks = torch.tensor([0.5, 2.0, 2.0, 3.5])
    expected = (ranks - ranks.mean()) / ranks.std(correction=0)
    for largest in (3.0, 1e9):
        found = features({"x": torch.tensor([1.0, 2.0, 2.0, largest])})
        torch.testing.assert_close(found[:, 0], expected)


def test_many_features_become_64_that_keep_distances():
    low = torch.randn(200, 10, generator=torch.Generator().manual_seed(1))
    wide = low @ torch.randn(10, 600, generator=torch.Generator().manual_seed(2))
    found = features({"x": wide})
    assert found.shape == (200, 64)
    standard = (wide - wide.mean(0)) / wide.std(0, correction=0).square().mean().sqrt()
    ours, theirs = (torch.pdist(points) for points in (found, standard))
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_a_long_series_is_projected_first():
    """Distances stay within a few per cent, and it takes no time that grows with the cube of its length."""
    generator = torch.Generator().manual_seed(1)
    waves = torch.randn(60, 6, generator=generator) @ torch.randn(6, 8000, generator=generator)
    ours, theirs = torch.pdist(features({"wav": waves})), torch.pdist(waves)
    assert torch.corrcoef(torch.stack([ours, theirs]))[0, 1] > 0.99
