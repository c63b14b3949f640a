"""Self-supervision on MNIST without labels by eight agents, then a linear probe that learns ten labels a class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, final_accuracy, gains


@dataclass(frozen=True)
class Normed(rc.models.Wrapper):
    """Another net, whose features are brought to mean 0 and deviation 1: without that a linear probe hardly learns.

    Args:
        width: Number of its features.
    """

    width: int

    def changed(self, module: nn.Module) -> nn.Module:
        """Put a BatchNorm behind it."""
        return nn.Sequential(module, nn.BatchNorm1d(self.width))


AGENTS, IMAGES, LABELS, TEMPERATURE = 8, 10_000, 100, 0.1
CONVOLUTIONS = rc.models.Without(rc.models.CNN(10, channels=(16, 32, 64), batch_norm=True), ("13", "14", "15"))
WIDTH = 64 * 3 * 3  # of what is left of it: its last feature map
TRUNK = Normed(CONVOLUTIONS, WIDTH)
PROJECTED = rc.models.Headed(TRUNK, rc.models.MLP(WIDTH, 32, (128,)))
CLASSIFIED = rc.models.Headed(TRUNK, rc.models.MLP(WIDTH, 10, ()))
VIEWS = (rc.tasks.RandomAffine(degrees=15, translate=0.12, scale=(0.8, 1.2), shear=0.2),)
PASSES, BATCH, STEPS, LR, POOLED_LR, POOLED_BATCH = 20, 32, 3, 0.1, 0.1, 128
PROBE, PROBE_ROUNDS = rc.SGD(lr=0.03, momentum=0.9, weight_decay=0.02), 100
SCRATCH, SCRATCH_ROUNDS = rc.SGD(lr=0.3, momentum=0.9), 60
EVERYTHING, PROBED = "8 agents, then the probe", "pooled, then the probe"


def unlabelled(count: int, seed: int, *, tiny: bool) -> rc.Source:
    """This many training images, as many of each class; of the test images for a tiny run."""
    return rc.data.Holdout(TEST if tiny else TRAIN, "test", fraction=count / (10_000 if tiny else 60_000), seed=seed)


def pretraining(rate: float, batch: int, rounds: int, steps: int) -> rc.SGD:
    """Rounds of a few steps each, which are too short to build the velocity up anew."""
    kept = {"momentum": 0.9, "keep_momentum": True, "drop_last": True, "autocast": True}
    return rc.SGD(lr=rate, batch_size=batch, steps=steps, schedule=rc.Cosine(length=rounds), **kept)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment | Mapping[str, rc.Experiment]]:
    count = 800 if tiny else IMAGES
    images = unlabelled(count, seed, tiny=tiny)
    labelled = rc.data.Holdout(images, "test", fraction=LABELS / count, seed=seed)
    test = unlabelled(500, seed + 1, tiny=True) if tiny else TEST

    def experiment(what: rc.Task, source: rc.Source, parts: int, learner: rc.Learner, num: int) -> rc.Experiment:
        agents = rc.Split(source, rc.IID(num_parts=parts, seed=seed), (learner,), val_fraction=0.0)
        run = rc.RunConfig(num_rounds=num, eval_every=num)
        return rc.Experiment(what, agents, (rc.Mean(),), test, run=run, checkpoint=rc.CheckpointConfig(every=10**6))

    def pretrained(parts: int, rate: float, batch: int, steps: int) -> rc.Experiment:
        rounds = 1 if tiny else PASSES * IMAGES // (parts * batch * steps)
        learner = pretraining(rate, batch, rounds, steps)
        return experiment(rc.SimCLR(PROJECTED, VIEWS, temperature=TEMPERATURE), images, parts, learner, rounds)

    probe = experiment(
        task(rc.models.Frozen(CLASSIFIED, ("trunk.*",))), labelled, AGENTS, PROBE, 2 if tiny else PROBE_ROUNDS
    )
    alone = 1 if tiny else IMAGES // POOLED_BATCH
    return {
        EVERYTHING: {"pretrain": pretrained(AGENTS, LR, BATCH, STEPS), "probe": probe},
        PROBED: {"pretrain": pretrained(1, POOLED_LR, POOLED_BATCH, alone), "probe": probe},
        "fresh trunk, the probe alone": probe,
        "from scratch": experiment(task(CLASSIFIED), labelled, AGENTS, SCRATCH, 2 if tiny else SCRATCH_ROUNDS),
    }


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    gained = gains(figures, EVERYTHING, "from scratch")
    by_seed = ", ".join(f"{each:.1f}" for each in gained)
    return {f"better than from scratch on the same labels in every seed (by seed: {by_seed})": min(gained) > 0}


PAPER = Paper(
    title="SimCLR on 10,000 unlabelled MNIST images, 8 agents, then a linear probe on 10 labels a class",
    source="no published figure; the method is that of Chen et al., ICML 2020",
    kind="reduced",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy, %",
    published={},
    claims=claims,
)
