"""Real images: the same bytes for every system, read from the file that benchmarks.decoded has written."""

import os
from functools import lru_cache

import torch
from torch import Tensor

from benchmarks.workloads.workload import Workload

PLACE = "RAYCOLLAB_DECODED"  # environment variable: where that file is, for the processes of a system
_MEAN = torch.tensor((0.4914, 0.4822, 0.4465)).view(3, 1, 1)
_STD = torch.tensor((0.247, 0.2435, 0.2616)).view(3, 1, 1)
Images = dict[str, Tensor]


def real_images(workload: Workload, split: str, start: int, stop: int) -> Images | None:
    """Normalised features [n, 3, 32, 32] and labels [n] of some rows; None for generated data, or where no file is.

    Args:
        workload: Whose examples they are.
        split: "train" or "test".
        start: The first of the rows.
        stop: The one after the last.
    """
    place = os.environ.get(PLACE)
    if not (workload.images and place):
        return None
    held = _opened(place)[split]
    features = held["features"][start:stop].float().div_(255.0).sub_(_MEAN).div_(_STD)
    return {"features": features, "label": held["label"][start:stop].clone()}


@lru_cache(maxsize=1)
def _opened(place: str) -> dict[str, Images]:
    """Both splits, as uint8; of the file only what is asked for is read."""
    return torch.load(place, mmap=True, weights_only=True)
