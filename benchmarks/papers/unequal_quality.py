"""Learned weights where the largest parties have the least to teach: noise, copies of few images, another camera."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, final_accuracy, gains
from raycollab.rng import numpy_generator

HELD = {"fraction": 1 / 60}  # 1,000 of the training images, which no agent gets
VALIDATION, REST = rc.data.Holdout(TRAIN, "test", **HELD), rc.data.Holdout(TRAIN, "train", **HELD)
SMALL, NUM_LARGE, NUM_SMALL = 200, 4, 6
NOISE, TURNED = (rc.data.Noise(10.0),), (rc.data.Rotate(90.0),)
QUALITY, CAMERAS = "noise and copies", "other cameras"
BY_SIZE, BY_AGENT, BY_GROUP = "weights by size", "learned, one an agent", "learned, one a group"


@dataclass(frozen=True)
class Sizes(rc.Partition):
    """Parts of these many rows, drawn at random; a part of which each row stands several times has fewer of them.

    Args:
        sizes: Rows of each part.
        copies: How often each row of a part stands in it.
        seed: Of the draw.
    """

    sizes: tuple[int, ...]
    copies: tuple[int, ...]
    seed: int = 0

    @property
    def num_parts(self) -> int:  # type: ignore[override]
        """As many as there are sizes."""
        return len(self.sizes)

    @property
    def keys(self) -> tuple[str, ...]:
        """No column: it counts rows."""
        return ("label",)

    def assign(self, columns: Any) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        drawn = numpy_generator(self.seed, "sizes").permutation(len(columns["label"]))
        different = [size // times for size, times in zip(self.sizes, self.copies, strict=True)]
        parts = np.split(drawn[: sum(different)], np.cumsum(different)[:-1])
        return [np.sort(np.repeat(part, times)) for part, times in zip(parts, self.copies, strict=True)]


def experiments(
    seed: int, tiny: bool, *, rest: rc.data.Source = REST, test: rc.data.Source = TEST
) -> Mapping[str, rc.Experiment]:
    small = (SMALL,) * NUM_SMALL
    mlp, cnn = rc.models.MLP(784, 10, hidden=(64, 32)), rc.models.CNN(10, channels=(8, 16), hidden=32)
    noise = (NOISE, NOISE, (), (), *((),) * NUM_SMALL)
    turned = (*(TURNED,) * NUM_LARGE, *((),) * NUM_SMALL)
    setups = {
        QUALITY: (mlp, 100 if tiny else 2_000, (1, 1, 100, 100), noise),
        CAMERAS: (cnn, 100 if tiny else 1_000, (1, 1, 1, 1), turned),
    }

    def experiment(setup: str, rule: rc.Aggregator) -> rc.Experiment:
        net, large, copies, skew = setups[setup]
        deal = Sizes(((large,) * NUM_LARGE) + small, (*copies, *(1,) * NUM_SMALL), seed)
        return rc.Experiment(
            task(net),
            rc.Split(rest, deal, (rc.SGD(lr=0.05, batch_size=32),), val_fraction=0.0, skew=skew),
            (rule,),
            test,
            run=rc.RunConfig(num_rounds=2 if tiny else 20, eval_every=5),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    by_agent = rc.LearnedWeights(VALIDATION)
    return {
        f"{QUALITY}: {BY_SIZE}": experiment(QUALITY, rc.Mean()),
        f"{QUALITY}: {BY_AGENT}": experiment(QUALITY, by_agent),
        f"{CAMERAS}: {BY_SIZE}": experiment(CAMERAS, rc.Mean()),
        f"{CAMERAS}: {BY_AGENT}": experiment(CAMERAS, by_agent),
        f"{CAMERAS}: {BY_GROUP}": experiment(CAMERAS, rc.LearnedWeights(VALIDATION, per="group")),
    }


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    over_size = gains(figures, f"{QUALITY}: {BY_AGENT}", f"{QUALITY}: {BY_SIZE}")
    over_agents = gains(figures, f"{CAMERAS}: {BY_GROUP}", f"{CAMERAS}: {BY_AGENT}")
    return {
        f"with {QUALITY}, weights of agents beat weights by size in every seed (least: {min(over_size):.2f})": min(
            over_size
        )
        > 0,
        f"with {CAMERAS}, weights of groups beat weights of agents in every seed (least: {min(over_agents):.2f})": min(
            over_agents
        )
        > 0,
    }


PAPER = Paper(
    title="Parties of unequal quality, MNIST, 4 large ones and 6 of 200 images, 20 rounds of one pass",
    source="a setup of our own",
    kind="reduced",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy, %",
    published={},
    claims=claims,
)
