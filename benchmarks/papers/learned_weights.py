"""Weights learned on validation data where three of ten agents hold wrong labels, and where none does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, final_accuracy, gains
from raycollab.rng import numpy_generator

NUM_AGENTS, NUM_BAD, Q = 10, 3, 0.9
HELD = {"fraction": 1 / 60}  # 1,000 of the training images, which no agent gets
VALIDATION, REST = rc.data.Holdout(TRAIN, "test", **HELD), rc.data.Holdout(TRAIN, "train", **HELD)
FLIP = rc.Attack("label_flip", num_agents=NUM_BAD)
BAD, HONEST, CLEAN = "flipped 3", "the 7 honest", "nobody flipped"


@dataclass(frozen=True)
class QSplit(rc.Partition):
    """A row of label l goes to agent l with probability q, and to each other one with the same of what is left."""

    num_parts: int = NUM_AGENTS
    q: float = Q
    seed: int = 0

    def assign(self, columns: Any) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        labels = columns["label"].numpy()
        drawn = numpy_generator(self.seed, "q-split")
        others = (labels + drawn.integers(1, self.num_parts, len(labels))) % self.num_parts
        owners = np.where(drawn.random(len(labels)) < self.q, labels, others)
        return [np.flatnonzero(owners == part) for part in range(self.num_parts)]


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    learner = rc.SGD(lr=0.05, epochs=1, batch_size=32) if not tiny else rc.SGD(lr=0.05, steps=1)

    def experiment(rule: rc.Aggregator, attack: rc.Attack) -> rc.Experiment:
        return rc.Experiment(
            task(rc.models.MLP(784, 10, hidden=(128,))),
            rc.Split(REST, QSplit(seed=seed), (learner,), val_fraction=0.0),
            (rule,),
            TEST,
            attack=attack,
            run=rc.RunConfig(num_rounds=2 if tiny else 20, eval_every=5),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    flipped = experiment(rc.Mean("uniform"), FLIP)
    names = [agent.name for agent in flipped.agents.agents()]
    honest = {name: float(name not in flipped.misbehaving()) for name in names}
    none = rc.Attack()
    return {
        f"learned weights, {BAD}": experiment(rc.LearnedWeights(VALIDATION), FLIP),
        f"uniform mean, {BAD}": flipped,
        f"mean of {HONEST}, {BAD}": experiment(rc.Mean(by_agent=honest), FLIP),
        f"learned weights, {CLEAN}": experiment(rc.LearnedWeights(VALIDATION), none),
        f"uniform mean, {CLEAN}": experiment(rc.Mean("uniform"), none),
    }


def largest_bad_weight(result: rc.Result) -> float:
    """The largest weight of an agent with flipped labels in the last round."""
    bad = FLIP.bad(sorted({row["agent"] for row in result.agents}, key=[r["agent"] for r in result.agents].index))
    return max(row["weight"] for row in result.agents if row["round"] == result.num_rounds and row["agent"] in bad)


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    learned, mean = f"learned weights, {BAD}", f"uniform mean, {BAD}"
    gain = min(gains(figures, learned, mean))
    honest = min(gains(figures, learned, f"mean of {HONEST}, {BAD}"))
    cost = min(gains(figures, f"learned weights, {CLEAN}", f"uniform mean, {CLEAN}"))
    weight = max(figures[f"{learned}, {COLUMN}"])
    return {
        f"learned weights gain at least 5 points on the uniform mean in every seed (least: {gain:.2f})": gain >= 5,
        f"each flipped agent ends with a weight of 1/100 or less in every seed (most: {weight:.2g})": weight <= 0.01,
        f"within 1 point of the mean of the honest in every seed (least: {honest:.2f})": honest >= -1,
        f"with nobody flipped it costs at most 0.3 points in every seed (least: {cost:.2f})": cost >= -0.3,
    }


COLUMN = "largest weight of flipped"
PAPER = Paper(
    title="Learned weights, MNIST, q-split 0.9, 10 agents, labels of 3 flipped, 20 rounds of one epoch",
    source="a setup of our own",
    kind="reduced",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy, %",
    published={},
    claims=claims,
    columns={COLUMN: largest_bad_weight},
)
