"""The digits are scikit-learn's, split without overlap."""

import gzip
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from raycollab.data import Digits, digits
from raycollab.errors import ConfigError, DataError


def rows(columns) -> set[bytes]:
    return {image.numpy().tobytes() for image in columns["image"]}


def test_agrees_with_sklearn():
    ours, theirs = Digits("all").read(), load_digits()
    np.testing.assert_array_equal(ours["image"][:, 0].numpy() * 16, theirs.images)
    np.testing.assert_array_equal(ours["label"].numpy(), theirs.target)


def test_shapes_and_range():
    columns = Digits("all").read()
    assert columns["image"].shape == (1797, 1, 8, 8)
    assert columns["image"].dtype == torch.float32
    assert columns["label"].dtype == torch.int64
    assert (columns["image"].min(), columns["image"].max()) == (0.0, 1.0)


def test_train_and_test_are_disjoint_complete_and_stratified():
    """scikit-learn's set has no image twice, so images stand for rows; 1,797 * 0.2 = 359.4 test rows."""
    train, test, everything = Digits().read(), Digits("test").read(), Digits("all").read()
    assert (len(train["label"]), len(test["label"])) == (1438, 359)
    assert rows(train).isdisjoint(rows(test))
    assert rows(train) | rows(test) == rows(everything)
    difference = torch.bincount(test["label"]) - 0.2 * torch.bincount(everything["label"])
    assert difference.abs().max() <= 1


def test_does_not_import_sklearn():
    code = "import sys; from raycollab.data import Digits; Digits().read(); raise SystemExit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_refuses_fraction(fraction):
    with pytest.raises(ConfigError, match=r"Digits.test_fraction=.*must be between 0 and 1"):
        Digits(test_fraction=fraction)


def test_refuses_part():
    with pytest.raises(ConfigError, match=r"Digits.part='val': must be 'train', 'test' or 'all'"):
        Digits("val")


def test_missing_sklearn(monkeypatch):
    monkeypatch.setattr(digits.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="scikit-learn, which bundles them, is not installed; run `pip install"):
        Digits().read()


def test_damaged_file(monkeypatch, tmp_path):
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(b"0,1,2\n")[:-4])
    monkeypatch.setattr(digits, "_bundled_file", lambda: path)
    with pytest.raises(DataError, match=r"digits.csv.gz is damaged: .*install scikit-learn again"):
        Digits().read()
