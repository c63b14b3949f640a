"""Which detections of an image found an object."""

import torch
from torch import Tensor

MIN_IOU = 0.5


def matched(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> Tensor:
    """Whether each detection found an object that no better one had found: bool [k].

    From the first detection on, each takes the object of its class that it overlaps most among those left, if their
    intersection over union is at least 0.5; of two that it overlaps alike, the later one.

    Args:
        boxes: Corners of detections, best first [k, 4].
        labels: Their classes, 0 where there is none [k].
        true_boxes: Corners of objects [m, 4].
        true_labels: Their classes, 0 where there is none [m].
    Source: pycocotools' COCOeval.evaluateImg, without crowds and areas.
    """
    overlap = intersection_over_union(boxes, true_boxes)  # [k, m]
    overlap[(labels[:, None] != true_labels) | (labels[:, None] == 0)] = 0.0
    hits = torch.zeros(len(boxes), dtype=torch.bool)
    for place in (overlap.amax(1) >= MIN_IOU).nonzero()[:, 0].tolist() if overlap.numel() else ():
        best = overlap.shape[1] - 1 - int(overlap[place].flip(0).argmax())
        if overlap[place, best] >= MIN_IOU:
            hits[place] = True
            overlap[:, best] = 0.0
    return hits


def intersection_over_union(one: Tensor, other: Tensor) -> Tensor:
    """Of boxes [k, 4] and [m, 4], by pairs [k, m]; 0 for two that are empty."""
    corner = torch.maximum(one[:, None, :2], other[None, :, :2])
    sides = (torch.minimum(one[:, None, 2:], other[None, :, 2:]) - corner).clamp(min=0)
    common = sides[..., 0] * sides[..., 1]
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (one, other)]
    whole = areas[0][:, None] + areas[1] - common
    return torch.where(whole > 0, common / whole, 0.0)
