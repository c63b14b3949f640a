"""Encoded images in Parquet columns."""

import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from raycollab.data import Parquet
from raycollab.errors import ConfigError, DataError

PICTURES = torch.randint(0, 256, (3, 3, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def encoded(picture, kind="png"):
    """A picture [3, h, w] or [h, w] as the bytes of a file."""
    array = np.ascontiguousarray(picture.numpy() if picture.ndim == 2 else picture.permute(1, 2, 0).numpy())
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


@pytest.fixture
def write(tmp_path):
    """Writes encoded images and labels to a file; returns its path."""

    def to(images, kind=None):
        path = str(tmp_path / "images.parquet")
        pq.write_table(pa.table({"image": pa.array(images, kind or pa.binary()), "label": range(len(images))}), path)
        return path

    return to


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()], ids=str)
def test_pixels_come_back(write, kind):
    path = write([encoded(picture) for picture in PICTURES], kind)
    kept = Parquet(path, images={"image": "rgb"}, scale=None).read()
    assert torch.equal(kept["image"], PICTURES)
    assert kept["label"].tolist() == [0, 1, 2]
    torch.testing.assert_close(Parquet(path, images={"image": "rgb"}).read()["image"], PICTURES / 255)


def test_gray_and_other_formats(write):
    """JPEG loses little of an even picture."""
    even = torch.full((8, 8), 100, dtype=torch.uint8)
    read = Parquet(write([encoded(even, "jpeg")]), images={"image": "gray"}, scale=None).read()["image"]
    assert read.shape == (1, 1, 8, 8)
    assert (read.int() - 100).abs().max() <= 2


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            [encoded(PICTURES[0]), encoded(PICTURES[1][:, :2])],
            r"'image': row 1 is 2x5, others are 4x5; resize them",
        ),
        ([encoded(PICTURES[0]), b"no image"], r"'image': row 1 is no image that can be read: .*; write it again"),
        ([encoded(PICTURES[0]), encoded(PICTURES[1])[:-30]], r"'image': row 1 is no image .*; write it again"),
        ([encoded(PICTURES[0]), None], r"'image': row 1 is null; drop the row"),
        ([b""], r"'image': row 0 is empty; drop the row"),
    ],
    ids=["size", "bytes", "truncated", "null", "empty"],
)
def test_what_is_refused(write, images, message):
    with pytest.raises(DataError, match=message):
        Parquet(write(images), images={"image": "rgb"}).read()


def test_the_remedy_is_named(write):
    with pytest.raises(DataError, match=r"'image' \(binary\).*or decode images with images={'image': 'rgb'}"):
        Parquet(write([encoded(PICTURES[0])])).read()
    with pytest.raises(ConfigError, match=r"Parquet.images\['image'\]='cmyk': must be one of \('gray', 'rgb'\)"):
        Parquet("x.parquet", images={"image": "cmyk"})


def test_normalized_by_channel(write):
    """(x / 255 - mean) / std; the channels' own statistics give zero mean and unit variance."""
    path = write([encoded(picture) for picture in PICTURES])
    plain = Parquet(path, images={"image": "rgb"}).read()["image"]
    mean, std = plain.mean((0, 2, 3)), plain.std((0, 2, 3), correction=0)
    statistics = {"image": (tuple(mean.tolist()), tuple(std.tolist()))}
    read = Parquet(path, images={"image": "rgb"}, normalize=statistics).read()["image"]
    torch.testing.assert_close(read.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(read.std((0, 2, 3), correction=0), torch.ones(3))
    with pytest.raises(
        DataError, match=r"normalize\['image'\] has 1 channels, but the column is torch.float32 of shape"
    ):
        Parquet(path, images={"image": "rgb"}, normalize={"image": ((0.5,), (0.5,))}).read()
    with pytest.raises(DataError, match=r"normalize\['pixels'\] is set, but the column is not read"):
        Parquet(path, images={"image": "rgb"}, normalize={"pixels": ((0.5,), (0.5,))}).read()
    with pytest.raises(ConfigError, match=r"Parquet.normalize\['image'\]=\(\(0.5,\), \(0.0,\)\): must be means"):
        Parquet(path, normalize={"image": ((0.5,), (0.0,))})


@pytest.mark.skipif(not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the real data sets")
def test_real_cifar():
    """Ten thousand WebP images of ten balanced classes; their mean is CIFAR-10's published one."""
    columns = Parquet("cifar10_test.parquet", images={"image": "rgb"}).read()
    assert columns["image"].shape == (10_000, 3, 32, 32)
    assert torch.bincount(columns["label"]).tolist() == [1000] * 10
    torch.testing.assert_close(columns["image"].mean((0, 2, 3)), torch.tensor([0.494, 0.485, 0.450]), atol=2e-3, rtol=0)
