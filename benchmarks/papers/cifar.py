"""A tenth or less of CIFAR-10, a small net for it, and the label skew of the papers that it stands beside."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

import raycollab as rc
from raycollab.rng import numpy_generator

_COLOURS = {"image": "rgb"}
_SCALE = {"image": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))}
TRAIN = rc.data.Parquet("cifar10_train.parquet", images=_COLOURS, normalize=_SCALE)
TEST = rc.data.Parquet("cifar10_test.parquet", images=_COLOURS, normalize=_SCALE)
_SMALLEST = 10  # rows of a part


@dataclass(frozen=True)
class StridedNet(rc.models.Model):
    """Two convolutions 3x3 of stride 2 and a hidden layer: 137,000 parameters, some 3 ms a step of 32 images."""

    def build(self) -> nn.Module:
        """Make the module."""
        convolutions = [nn.Conv2d(3, 16, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, padding=1), nn.ReLU()]
        head = [nn.Flatten(), nn.Linear(32 * 8 * 8, 64), nn.ReLU(), nn.Linear(64, 10)]
        return nn.Sequential(*convolutions, *head)


TASK = rc.ImageClassification(StridedNet(), num_classes=10)


@dataclass(frozen=True)
class EvenDirichlet(rc.Partition):
    """Each label is dealt out by a Dirichlet draw among the parts that hold less than their share of all rows so far.

    Source: the partition of the repositories of FedNova, NIID-Bench and NVFlare, where parts differ less in size than
        with `rc.Dirichlet`; drawn again until each has 10 rows.
    """

    alpha: float
    num_parts: int
    seed: int = 0

    def assign(self, columns: Any) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        labels = columns["label"].numpy()
        generator = numpy_generator(self.seed, "partition", "EvenDirichlet")
        parts = self._deal(labels, generator)
        while min(map(len, parts)) < _SMALLEST:
            parts = self._deal(labels, generator)
        return [np.sort(part) for part in parts]

    def _deal(self, labels: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
        parts = [np.zeros(0, dtype=np.int64)] * self.num_parts
        for label in np.unique(labels):
            room = [len(part) < len(labels) / self.num_parts for part in parts]
            shares = generator.dirichlet(np.full(self.num_parts, self.alpha)) * room
            rows = generator.permutation(np.flatnonzero(labels == label))
            ends = (np.cumsum(shares / shares.sum())[:-1] * len(rows)).astype(int)
            parts = [np.concatenate(pair) for pair in zip(parts, np.split(rows, ends), strict=True)]
        return parts


def images(count: int, seed: int, *, tiny: bool) -> rc.data.Holdout:
    """This many of the 50,000 training images, as many of each class; of the test images for a tiny run."""
    source, size = (TEST, 10_000) if tiny else (TRAIN, 50_000)
    return rc.data.Holdout(source, "test", fraction=count / size, seed=seed)
