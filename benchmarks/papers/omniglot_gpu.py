"""Omniglot, 20-way 1-shot, of the learners that take inner steps. For a GPU: a cell is an hour of two CPU cores.

    python -m benchmarks.papers omniglot_gpu --seeds 0 1 2 --workers 1

It needs a GPU, and has not been run at full size yet.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch

import raycollab as rc
from benchmarks.papers import omniglot


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    made = omniglot.cells([(20, 1, name) for name in omniglot.NAMES if name != "ProtoNet"], seed, tiny)
    gpus = 0.5 if torch.cuda.is_available() else 0.0
    scaling = rc.ScalingConfig(gpus_per_host=gpus, gpus_for_driver=gpus)
    return {name: replace(experiment, scaling=scaling) for name, experiment in made.items()}


PAPER = replace(omniglot.PAPER, kind="GPU", experiments=experiments)
