"""Folders of images: classes by name, whichever a party holds."""

import numpy as np
import pytest
from PIL import Image

from raycollab.data import ImageFolder, Parquet
from raycollab.data import image_folder as module
from raycollab.data.partition import Dirichlet, Explicit
from raycollab.errors import ConfigError, DataError

CLASSES = ("cat", "cow", "dog")


@pytest.fixture
def folder(tmp_path):
    """Four images of one pixel; no cow."""
    for index, name in enumerate(("cat/a.png", "cat/b.jpg", "dog/c.png", "dog/sub/dog/d.PNG")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((1, 1, 3), 51 * index, np.uint8)).save(path)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_labels_are_places_among_the_classes(folder):
    columns = ImageFolder(str(folder), CLASSES).read()
    assert columns["label"].tolist() == [0, 0, 2, 2]
    assert columns["image"].shape == (4, 3, 1, 1)
    np.testing.assert_allclose(columns["image"][:, 0, 0, 0], [0, 0.2, 0.4, 0.6], atol=1e-6)
    gray = ImageFolder(str(folder), CLASSES, size=(2, 3), color="gray", scale=None).read()["image"]
    assert gray.shape == (4, 1, 2, 3)


def test_dealing_out_reads_no_file_and_parts_only_their_own(folder, monkeypatch):
    read = []
    content = module._bytes_of
    monkeypatch.setattr(module, "_bytes_of", lambda system, file: read.append(file) or content(system, file))
    source = ImageFolder(str(folder), CLASSES)
    assert source.keys(("label",))["label"].tolist() == [0, 0, 2, 2]
    assert not read
    assert source.split(Explicit(((1, 2), (0, 3))))[0].read()["label"].tolist() == [0, 2]
    assert len(read) == 2
    parts = [part.read()["label"].tolist() for part in source.split(Dirichlet(1.0, 2, min_examples=1))]
    assert sorted(parts[0] + parts[1]) == [0, 0, 2, 2]


def test_what_cannot_be_read(folder):
    (folder / "cow").mkdir()
    (folder / "cow" / "broken.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"cow/broken.png is no image that can be read: .*leave such files out .*skip"):
        ImageFolder(str(folder), CLASSES).read()
    opened = ImageFolder(str(folder), CLASSES).tolerant().open()
    assert opened.columns["label"].tolist() == [0, 0, 2, 2]
    assert len(opened.skipped) == 1


def test_refusals(folder):
    with pytest.raises(
        DataError, match=r"its folder 'dog' is none of classes=\('cat',\); name it there, or move .*\(2 suc"
    ):
        ImageFolder(str(folder), ("cat",)).read()
    with pytest.raises(ConfigError, match=r"ImageFolder.classes=\(\): must name the folders"):
        ImageFolder("x", ())
    with pytest.raises(DataError, match=r"no file there, and no folder with .png or .jpg"):
        ImageFolder("nowhere", CLASSES).read()
    assert Parquet("x") != ImageFolder("x", CLASSES)
