"""Principal components: those of scikit-learn, fitted on other rows than the ones that are changed."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from raycollab.data import Arrays, Digits, Distorted, PrincipalComponents
from raycollab.errors import ConfigError, DataError

TRAIN, TEST = Digits("train"), Digits("test")


@pytest.mark.parametrize(("energy", "count"), [(0.25, 1), (0.5, 4), (0.9, None)])
def test_they_are_scikit_learns(energy, count):
    pca = PCA().fit(TRAIN.read()["image"].flatten(1).numpy())
    kept = int((pca.explained_variance_ratio_.cumsum() <= energy).sum())
    assert count in (None, kept)
    pca = PCA(kept).fit(TRAIN.read()["image"].flatten(1).numpy())
    flat = TEST.read()["image"].flatten(1).numpy()
    expected = pca.inverse_transform(pca.transform(flat)).reshape(-1, 1, 8, 8)
    found = Distorted(TEST, (PrincipalComponents(energy, TRAIN),)).read()["image"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_is_kept_of_the_energy():
    images = TRAIN.read()["image"].flatten(1)
    kept = PrincipalComponents(0.5, TRAIN).apply(images, np.arange(len(images)), 0)
    assert 0.4 < float(kept.var(0).sum() / images.var(0).sum()) <= 0.5
    torch.testing.assert_close(
        PrincipalComponents(1.0, TRAIN).apply(images, np.arange(1), 0), images, atol=1e-4, rtol=0
    )


def test_one_component_is_always_kept():
    kept = PrincipalComponents(1e-6, TRAIN).apply(TEST.read()["image"], np.arange(1), 0).flatten(1)
    assert torch.linalg.matrix_rank(kept - kept.mean(0), rtol=1e-4) == 1


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"PrincipalComponents.energy=0.0: must be in \(0, 1\]"):
        PrincipalComponents(0.0, TRAIN)
    with pytest.raises(DataError, match="examples hold 4 values, and those of digits/train 64"):
        PrincipalComponents(0.5, TRAIN).apply(torch.zeros(2, 4), np.arange(2), 0)
    other = Arrays({"sound": torch.zeros(3, 2)}, "other")
    with pytest.raises(DataError, match="no column 'image'; there are: sound"):
        PrincipalComponents(0.5, other).apply(torch.zeros(2, 4), np.arange(2), 0)
