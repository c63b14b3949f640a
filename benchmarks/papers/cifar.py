"""A part of CIFAR-10 at half its size, and a small net for it: what two cores can train forty times over."""

from dataclasses import dataclass

from torch import nn

import raycollab as rc

COLOURS = {"image": "rgb"}
STATISTICS = {"image": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))}
TRAIN = rc.data.Parquet("cifar10_train.parquet", images=COLOURS, normalize=STATISTICS)
TEST = rc.data.Parquet("cifar10_test.parquet", images=COLOURS, normalize=STATISTICS)


@dataclass(frozen=True)
class HalfSize(rc.models.Wrapper):
    """Another model, of images whose sides are half as long: each pixel is the mean of four."""

    def changed(self, module: nn.Module) -> nn.Module:
        """Put the means in front."""
        return nn.Sequential(nn.AvgPool2d(2), module)


NET = HalfSize(rc.models.CNN(10, in_channels=3, size=16, channels=(16, 32), hidden=64))
TASK = rc.ImageClassification(NET, num_classes=10)


def images(count: int, seed: int, *, tiny: bool) -> rc.data.Holdout:
    """This many of the 50,000 training images, as many of each class; of the test images for a tiny run."""
    source, size = (TEST, 10_000) if tiny else (TRAIN, 50_000)
    return rc.data.Holdout(source, "test", fraction=count / size, seed=seed)
