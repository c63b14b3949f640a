"""Robust rules under attack on sorted MNIST: which hold, and which are known to fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, final_accuracy
from raycollab.rng import numpy_generator

NUM_AGENTS, NUM_BAD, LR = 25, 5, 0.01
ATTACKS = {
    "sign flip": rc.Attack("sign_flip", num_agents=NUM_BAD),
    "label flip": rc.Attack("label_flip", num_agents=NUM_BAD),
    "mimic": rc.Attack("mimic", num_agents=NUM_BAD),
    "IPM": rc.Attack("ipm", num_agents=NUM_BAD, strength=0.1),
    "ALIE": rc.Attack("alie", num_agents=NUM_BAD),
}
CENTRED = rc.CenteredClip(tau=10.0 / (1 - 0.9) * LR, num_iters=3)  # of deltas: lr times the repository's momenta
RFA, KRUM = rc.GeometricMedian(num_iters=8), rc.Krum(f=NUM_BAD)


@dataclass(frozen=True)
class SortedAmongHonest(rc.Partition):
    """Sorted digits in equal pieces, one an honest agent; the bad ones, who come last, hold random rows of theirs."""

    num_parts: int = NUM_AGENTS
    num_bad: int = NUM_BAD
    seed: int = 0

    def assign(self, columns: Any) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        order = np.argsort(columns["label"].numpy(), kind="stable")
        pieces = np.array_split(order, self.num_parts - self.num_bad)
        drawn = numpy_generator(self.seed, "bad").permutation(len(order))
        return [np.sort(rows) for rows in (*pieces, *np.split(drawn[: self.num_bad * len(pieces[0])], self.num_bad))]


class ChannelsLast(nn.Module):
    """The same images with their channels next to each other in memory: half the time of a convolution in bfloat16."""

    def forward(self, images: Tensor) -> Tensor:
        """[b, c, h, w] as it is, laid out as [b, h, w, c]."""
        return images.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class ExampleNet(rc.models.Model):
    """The CNN of the repository, 1,199,882 parameters; a tiny one for tests."""

    tiny: bool = False

    def build(self) -> nn.Module:
        """Make the module."""
        if self.tiny:
            return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        convolutions = [nn.Conv2d(1, 32, 3), ChannelsLast(), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.MaxPool2d(2)]
        head = [nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)]
        return nn.Sequential(*convolutions, nn.Dropout2d(0.25), *head)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    def experiment(rule: rc.Aggregator, momentum: float, attack: str) -> rc.Experiment:
        honest = rc.SGD(lr=LR, momentum=momentum, keep_momentum=momentum > 0, steps=1, batch_size=32, autocast=True)
        alone = attack in ("sign flip", "label flip")  # the others' vectors are replaced, whatever they learn
        bad = replace(honest, momentum=0.0, keep_momentum=False, batch_size=32 if alone else 1)
        learners = (honest,) * (NUM_AGENTS - NUM_BAD) + (bad,) * NUM_BAD
        return rc.Experiment(
            task(ExampleNet(tiny)),
            rc.Split(TRAIN, SortedAmongHonest(seed=seed), learners, val_fraction=0.0),
            (rule,),
            TEST,
            attack=ATTACKS[attack],
            run=rc.RunConfig(num_rounds=2 if tiny else 600, eval_every=100),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    cells = {f"centred clipping, m=0.9, {attack}": experiment(CENTRED, 0.9, attack) for attack in ATTACKS}
    cells["RFA, m=0, IPM"] = experiment(RFA, 0.0, "IPM")
    cells["RFA, m=0, s=2, IPM"] = experiment(rc.Bucketing(RFA, size=2), 0.0, "IPM")
    cells["Krum, m=0, label flip"] = experiment(KRUM, 0.0, "label flip")
    return cells


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    centred = [min(figures[f"centred clipping, m=0.9, {attack}"]) for attack in ATTACKS]
    gain = [s - p for s, p in zip(figures["RFA, m=0, s=2, IPM"], figures["RFA, m=0, IPM"], strict=True)]
    return {
        "centred clipping is at least 97.0 under all five attacks in every seed": min(centred) >= 97.0,
        "bucketing gains RFA at least 60 points under IPM in every seed": min(gain) >= 60,
        "Krum under label flip stays at 10 or below in every seed": max(figures["Krum, m=0, label flip"]) <= 10,
    }


PAPER = Paper(
    title="Byzantine MNIST, n=25, f=5, sorted by label, batch 32, lr 0.01, 600 steps",
    source="Karimireddy et al., ICLR 2022, and the raw results of its repository",
    kind="full run",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy, %",
    published={
        "centred clipping, m=0.9, sign flip": "97.7",
        "centred clipping, m=0.9, label flip": "97.6",
        "centred clipping, m=0.9, mimic": "97.8",
        "centred clipping, m=0.9, IPM": "97.6",
        "centred clipping, m=0.9, ALIE": "98.0",
        "RFA, m=0, IPM": "14.6",
        "RFA, m=0, s=2, IPM": "90.6",
        "Krum, m=0, label flip": "1.0",
    },
    claims=claims,
)
