"""FedNova against FedAvg where every agent has time for another number of epochs in every round."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

import raycollab as rc
from benchmarks.papers.cifar import TASK, TEST, images
from benchmarks.papers.paper import Paper, final_accuracy, late_accuracy, positive_gain
from raycollab.rng import numpy_generator


@dataclass(frozen=True)
class Balanced(rc.Partition):
    """Dirichlet shares of each label, but a party that has its equal part of all rows gets none of further labels.

    Source: the repository of FedNova, which draws again until everybody has ten rows.
    """

    alpha: float
    num_parts: int
    seed: int = 0

    def assign(self, columns: Any) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        labels, generator = columns["label"].numpy(), numpy_generator(self.seed, "partition", "Balanced")
        while True:
            parts = [np.zeros(0, dtype=np.int64) for _ in range(self.num_parts)]
            for label in range(10):
                rows = generator.permutation(np.flatnonzero(labels == label))
                open_to = [len(part) < len(labels) / self.num_parts for part in parts]
                shares = generator.dirichlet(np.full(self.num_parts, self.alpha)) * open_to
                ends = (np.cumsum(shares / shares.sum()) * len(rows)).astype(int)[:-1]
                parts = [np.concatenate(pair) for pair in zip(parts, np.split(rows, ends), strict=True)]
            if min(map(len, parts)) >= 10:
                return [np.sort(part) for part in parts]


@dataclass(frozen=True)
class DrawnEpochs(rc.Learner):
    """A learner with as many epochs as an agent has time for in a round: low to high, each as likely."""

    learner: rc.SGD
    low: int = 2
    high: int = 5

    @property
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner sends."""
        return self.learner.sends

    def update(self, problem: rc.Problem, params: Tensor, state: Any, round: rc.Round) -> tuple[rc.Update, Any]:
        """Learn for this round's number of epochs."""
        drawn = numpy_generator(round.seed, "epochs", round.index, problem.agent).integers(self.low, self.high + 1)
        return replace(self.learner, epochs=int(drawn)).update(problem, params, state, round)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    rules = {"FedAvg": rc.Mean(), "FedNova": rc.FedNova()}
    learner = DrawnEpochs(rc.SGD(lr=0.03, batch_size=32, autocast=True))
    return {
        name: rc.Experiment(
            TASK,
            rc.Split(
                images(400 if tiny else 5_000, seed, tiny=tiny),
                Balanced(0.1, num_parts=8, seed=seed),
                (learner,),
                val_fraction=0.0,
            ),
            (rule,),
            images(100, seed + 1, tiny=True) if tiny else TEST,
            run=rc.RunConfig(num_rounds=1 if tiny else 40, eval_every=2),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )
        for name, rule in rules.items()
    }


PAPER = Paper(
    title="FedNova - FedAvg on CIFAR-10, 5,000 images, 8 agents, Dirichlet 0.1, 2 to 5 epochs, small CNN, 40 rounds",
    source="beside Wang et al., NeurIPS 2020, Table 1: VGG-11, 16 agents: 64.30 and 70.54",
    kind="reduced",
    experiments=experiments,
    figure=late_accuracy,
    unit="accuracy, mean after rounds 32, 34 ... 40, %",
    published={},
    claims=positive_gain("FedNova", "FedAvg"),
    columns={"after the last round": final_accuracy},
)
