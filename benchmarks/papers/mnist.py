"""MNIST as these papers use it: pixels with the training set's mean 0.1307 and standard deviation 0.3081 taken out."""

import raycollab as rc

SHAPES = {"image": (1, 28, 28)}
STATISTICS = {"image": ((0.1307,), (0.3081,))}
TRAIN = rc.data.Parquet("mnist_train60k.parquet", shapes=SHAPES, normalize=STATISTICS)
TEST = rc.data.Parquet("mnist_test10k.parquet", shapes=SHAPES, normalize=STATISTICS)


def task(net: rc.models.Model) -> rc.ImageClassification:
    """Ten digits."""
    return rc.ImageClassification(net, num_classes=10)
