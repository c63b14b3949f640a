"""CIFAR-10 decoded into one file, before any clock starts: peers have no decoder for what is in the Parquet files."""

import os

import numpy as np
import torch

from benchmarks.workloads import Workload
from raycollab.data import Columns, Parquet
from raycollab.errors import DataError
from raycollab.places import DATA_VARIABLE

TRAIN = Parquet("cifar10_train.parquet", images={"image": "rgb"}, scale=None)
TEST = Parquet("cifar10_test.parquet", images={"image": "rgb"}, scale=None)


def decoded(workload: Workload, folder: str) -> str | None:
    """The images that a workload needs, as one file of tensors in a folder; dealt out IID, agent after agent.

    Returns: Its path; None where a workload is of generated data, or the two files are not under $RAYCOLLAB_DATA.
    Raises: SystemExit if it needs more images than there are.
    """
    if not (workload.images and _is_there(TRAIN) and _is_there(TEST)):
        return None
    needed = {"train": workload.agents * workload.examples, "test": workload.num_test}
    splits = {split: _some(source, needed[split]) for split, source in (("train", TRAIN), ("test", TEST))}
    place = os.path.join(folder, "cifar10.pt")
    torch.save(splits, place)
    return place


def _is_there(source: Parquet) -> bool:
    try:
        return bool(source.files())
    except DataError:
        return False


def _some(source: Parquet, count: int) -> Columns:
    """So many rows, drawn by a fixed seed: features uint8 [n, 3, 32, 32] and labels [n]."""
    there = len(source.keys(("label",))["label"])
    if count > there:
        raise SystemExit(
            f"{count:,} images are asked for and {source.path} has {there:,}: ask for fewer --agents, or unset "
            f"{DATA_VARIABLE} for generated ones"
        )
    columns = source.open(np.random.default_rng(0).permutation(there)[:count]).columns
    return {"features": columns["image"], "label": columns["label"].long()}
