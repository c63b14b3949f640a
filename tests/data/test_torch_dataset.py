"""Data sets that are Python classes, and those of torchvision by name."""

import os
import struct

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from raycollab.data import IID, Parquet, TorchDataset, Torchvision
from raycollab.errors import ConfigError, DataError


class Squares(Dataset):
    """Items (x, x ** 2, label); item `broken` cannot be read."""

    def __init__(self, size=6, broken=-1):
        self.size, self.broken = size, broken

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index == self.broken:
            raise OSError("a bad sector")
        return {"x": torch.tensor([index, index**2], dtype=torch.float64), "label": index % 2}


class Counting(IterableDataset):
    def __iter__(self):
        return ((np.full(2, number, np.float32), number % 3) for number in range(5))


def named(kind):
    return f"{__name__}.{kind.__name__}"


def test_map_style_and_iterable():
    columns = TorchDataset(Squares, {"size": 3}).read()
    assert columns["x"].dtype == torch.float32
    assert columns["x"].tolist() == [[0, 0], [1, 1], [2, 4]]
    assert columns["label"].tolist() == [0, 1, 0]
    source = TorchDataset(Counting, names=("x", "label"))
    assert source.read()["label"].tolist() == [0, 1, 2, 0, 1]
    parts = [part.read()["x"][:, 0].tolist() for part in source.split(IID(2))]
    assert sorted(parts[0] + parts[1]) == [0, 1, 2, 3, 4]


def test_by_name():
    source = TorchDataset("torchvision.datasets:FakeData", {"size": 2, "image_size": [3, 4, 4]})
    assert source.read()["image"].shape == (2, 3, 4, 4)
    assert source.describe() == "torchvision.datasets:FakeData"
    with pytest.raises(ConfigError, match=r"nowhere.Set cannot be imported"):
        TorchDataset("nowhere.Set").read()


def test_items_that_cannot_be_read():
    with pytest.raises(DataError, match=r"Squares: item 2: OSError: a bad sector; mend it, or leave .*bad_rows='skip'"):
        TorchDataset(Squares, {"broken": 2}).read()
    opened = TorchDataset(Squares, {"broken": 2}, bad_rows="skip").open()
    assert opened.columns["label"].tolist() == [0, 1, 1, 0, 1]
    assert opened.kept.tolist() == [0, 1, 3, 4, 5]
    with pytest.raises(DataError, match="1 items cannot be read, so that rows cannot be dealt out"):
        TorchDataset(Squares, {"broken": 2}, bad_rows="skip").split(IID(2))[0].read()
    with pytest.raises(DataError, match=r"item 0: ValueError: holds 2 values, and names=\('image',\)"):
        TorchDataset(Counting, names=("image",)).read()


def test_torchvision_refusals(tmp_path):
    with pytest.raises(ConfigError, match=r"Torchvision.name='CIFAR': torchvision.datasets has: .*CIFAR10"):
        Torchvision("CIFAR").read()
    with pytest.raises(DataError, match=r"Torchvision\('CIFAR10'\).root='nowhere': no folder there; tried: "):
        Torchvision("CIFAR10", "nowhere").read()
    with pytest.raises(
        DataError, match=r"torchvision CIFAR10: cannot be opened with .*RuntimeError: Dataset not found"
    ):
        Torchvision("CIFAR10", str(tmp_path)).read()


@pytest.mark.skipif(not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the real data sets")
def test_real_mnist_as_torchvision_keeps_it(tmp_path):
    """The files of yann.lecun.com, made of the Parquet file, read as the same pixels."""
    columns = Parquet("mnist_test10k.parquet", shapes={"image": (1, 28, 28)}).read()
    pixels = (columns["image"][:500] * 255).round().to(torch.uint8).numpy()
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train", "t10k"):
        (raw / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 500, 28, 28) + pixels.tobytes())
        labels = columns["label"][:500].to(torch.uint8).numpy()
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 500) + labels.tobytes())
    read = Torchvision("MNIST", str(tmp_path), {"train": False}).read()
    torch.testing.assert_close(read["image"], columns["image"][:500])
    assert torch.equal(read["label"], columns["label"][:500])
