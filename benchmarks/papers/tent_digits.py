"""Digits that are corrupted when the model is used: BatchNorm's statistics and TENT, without labels."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper
from raycollab.adapt import Adapted, AtTest, BatchStatistics, Tent

AGENTS, IMAGES, ROUNDS = 5, 5_000, 5
NET = rc.models.CNN(10, channels=(8, 16), hidden=64, batch_norm=True)
STEPS = rc.SGD(lr=0.05, momentum=0.9, batch_size=64, drop_last=True)
CORRUPTIONS = {
    "noise": (rc.data.Noise(std=1.5),),
    "low contrast": (rc.data.Rescale(gain=0.15, offset=0.4),),
    "blur and noise": (rc.data.Blur(sigma=1.5), rc.data.Noise(std=0.5)),
}
METHODS: Mapping[str, AtTest | None] = {
    "as it was trained": None,
    "BatchNorm's statistics": BatchStatistics(),
    "TENT": Tent(),
}


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    images = rc.data.Holdout(
        TEST if tiny else TRAIN, "test", (500 if tiny else IMAGES) / (10_000 if tiny else 60_000), seed
    )
    clean = rc.data.Holdout(TEST, "test", 0.05) if tiny else TEST
    agents = rc.Split(images, rc.IID(AGENTS, seed=seed), (STEPS,), val_fraction=0.0)
    rounds = 1 if tiny else ROUNDS
    run, every = rc.RunConfig(num_rounds=rounds, eval_every=rounds), rc.CheckpointConfig(every=10**6)
    runs = {}
    for corruption, distortions in {"clean": (), **CORRUPTIONS}.items():
        test = rc.data.Distorted(clean, distortions, seed=seed) if distortions else clean
        for name, method in METHODS.items():
            what = Adapted(task(NET), method) if method else task(NET)
            runs[f"{corruption}, {name}"] = rc.Experiment(what, agents, (rc.Mean(),), test, run=run, checkpoint=every)
    return runs


def error(result: rc.Result) -> float:
    """Share of the test images that are wrong, in percent."""
    return 100 * (1 - result.metrics["accuracy"])


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    found = {}
    for corruptions in (list(CORRUPTIONS), *([each] for each in CORRUPTIONS)):
        before = _mean(figures, corruptions, "as it was trained")
        for name in list(METHODS)[1:]:
            after = _mean(figures, corruptions, name)
            kept = [a / b for a, b in zip(after, before, strict=True)]
            less = ", ".join(f"{100 * (1 - share):.0f}" for share in kept)
            what = "mean of the corruptions" if len(corruptions) > 1 else corruptions[0]
            found[f"{what}: {name} takes 30 % of the error away (by seed: {less})"] = max(kept) <= 0.7
    return found


def _mean(figures: Mapping[str, Sequence[float]], corruptions: Sequence[str], method: str) -> list[float]:
    """The mean error over corruptions, by seed."""
    return [fmean(each) for each in zip(*(figures[f"{name}, {method}"] for name in corruptions), strict=True)]


PAPER = Paper(
    title="Adaptation at test on corrupted digits, CNN with BatchNorm, 5 agents, 5,000 images of MNIST, 5 rounds",
    source="beside CIFAR-10-C, WRN-28-10, mean error: 43.5, 20.4 with BatchNorm's statistics and 18.6 with TENT",
    kind="reduced",
    experiments=experiments,
    figure=error,
    unit="error on the test images, %",
    published={},
    claims=claims,
)
