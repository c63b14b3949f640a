"""Likely label errors by confident learning.

Source: Northcutt, Jiang and Chuang, JAIR 2021, arXiv 1911.00068, section 3. An example counts for class j if the
probability of j is at least the mean probability of j among the examples labelled j; one that counts for another class
than its label is off the diagonal of the confident joint. Deviations: the threshold is 0.9 of that mean, because
neighbours with wrong labels lower the probability of the right one; and the likeliest class must be another one than
the label. The out-of-sample probabilities are those of an example's neighbours, which takes no training.
"""

import torch
from torch import Tensor

from raycollab.quality.neighbours import nearest

NUM_NEIGHBOURS = 5
_STRICTNESS = 0.9


def out_of_sample(points: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Probability of each class for each example, by the labels of the others that look most like it.

    Neighbours count by exp(-(d / m)^2), where m is the median of the five distances.

    Shapes: points [n, k], labels [n] -> [n, num_classes]; n > 5.
    """
    places, distances = nearest(points, NUM_NEIGHBOURS)
    median = distances.median(1, keepdim=True).values.clamp(min=1e-12)
    weights = (-((distances / median) ** 2)).exp()
    votes = torch.zeros(len(points), num_classes).scatter_add_(1, labels[places], weights)
    return votes / votes.sum(1, keepdim=True)


def label_errors(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Which labels are likely wrong: bool [n].

    Args:
        probabilities: Of each class, from a model that has not seen the example's label [n, c].
        labels: As they are given [n].
    """
    sums = torch.zeros(probabilities.shape[1]).index_add_(0, labels, probabilities.gather(1, labels[:, None])[:, 0])
    thresholds = _STRICTNESS * sums / labels.bincount(minlength=probabilities.shape[1])  # nan for a class without any
    counted = probabilities.where(probabilities >= thresholds, -1.0)
    confident = counted.max(1)
    return (confident.values > 0) & (confident.indices != labels) & (probabilities.argmax(1) != labels)
