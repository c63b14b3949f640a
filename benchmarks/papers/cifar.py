"""A tenth or a fifth of CIFAR-10, and a small net for it: what two cores can train forty times over."""

import raycollab as rc

COLOURS = {"image": "rgb"}
TRAIN = rc.data.Parquet("cifar10_train.parquet", images=COLOURS)
TEST = rc.data.Parquet("cifar10_test.parquet", images=COLOURS)
NET = rc.models.CNN(10, in_channels=3, size=32, channels=(16, 32), hidden=64)
TASK = rc.ImageClassification(NET, num_classes=10)


def images(count: int, seed: int, *, tiny: bool) -> rc.data.Holdout:
    """This many of the 50,000 training images, as many of each class; of the test images for a tiny run."""
    source, size = (TEST, 10_000) if tiny else (TRAIN, 50_000)
    return rc.data.Holdout(source, "test", fraction=count / size, seed=seed)
