"""Examples with every corner that the statistics know, the statistic of each kind over them, and random splits."""

import functools

import numpy as np
import torch

from raycollab.metrics import Average, CalibrationBins, Confusion, Perplexity, RankCounts, Statistic

NUM_CLASSES = 5
ROUNDING = 1e-12  # float64, a few thousand additions
MAKERS = ["confusion", "rank", "calibration", "average", "perplexity"]
INTEGER_BACKED = MAKERS[:3]


def draw(seed: int, num_examples: int = 400) -> dict[str, torch.Tensor]:
    """Class 4 is never true and class 3 never predicted; scores have many ties, and both zeros."""
    random = np.random.default_rng(seed)
    scores = random.integers(-20, 20, num_examples).astype(np.float32) / 7
    scores[::9] = -0.0
    return {
        "targets": torch.from_numpy(random.integers(0, 4, num_examples)),
        "predictions": torch.from_numpy(random.choice([0, 1, 2, 4], num_examples)),
        "binary": torch.from_numpy(random.integers(0, 2, num_examples)),
        "scores": torch.from_numpy(scores),
        "confidence": torch.from_numpy(random.random(num_examples, dtype=np.float32)),
    }


def make(kind: str, data: dict[str, torch.Tensor]) -> Statistic:
    """The statistic of this kind over the data."""
    if kind == "confusion":
        return Confusion.of(data["targets"], data["predictions"], NUM_CLASSES)
    if kind == "rank":
        return RankCounts.of(data["scores"], data["binary"])
    if kind == "calibration":
        return CalibrationBins.of(data["confidence"], data["binary"])
    total, weight = float(data["confidence"].double().sum()), len(data["confidence"])
    return Average("loss", total, weight) if kind == "average" else Perplexity(total, weight)


def split(data: dict[str, torch.Tensor], seed: int, num_parts: int = 4) -> list[dict[str, torch.Tensor]]:
    """Random parts of unequal size; the last is empty."""
    num_examples = len(data["targets"])
    random = np.random.default_rng(seed)
    cuts = np.sort(random.integers(0, num_examples, num_parts - 2))
    places = np.split(random.permutation(num_examples), [*cuts, num_examples])
    return [{name: values[torch.from_numpy(place)] for name, values in data.items()} for place in places]


def add(parts):
    """Sum from the left, without a neutral element."""
    return functools.reduce(lambda left, right: left + right, parts)
