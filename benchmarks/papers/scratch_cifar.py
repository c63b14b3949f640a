"""A small net on CIFAR-10 from nothing: five agents beside one that holds all of their images, with as many passes."""

from collections.abc import Mapping, Sequence

import raycollab as rc
from benchmarks.papers.cifar import TASK, TEST, images
from benchmarks.papers.paper import Paper, final_accuracy, gains

AGENTS, IMAGES, BATCH, PASSES, STEPS = 5, 10_000, 25, 10, 2
ROUNDS = PASSES * IMAGES // (AGENTS * BATCH * STEPS)
SKEW = 10 * 0.3  # each of the ten labels has 0.3 of it: LabelMix draws with alpha times the label's share
LR, POOLED_LR = 0.05, 0.02


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    rounds, passes = (2, 1) if tiny else (ROUNDS, PASSES)
    source = images(250 if tiny else IMAGES, seed, tiny=tiny)
    together = rc.SGD(
        lr=LR,
        momentum=0.9,
        keep_momentum=True,  # a round is too short to build it up anew
        batch_size=BATCH,
        steps=STEPS,
        schedule=rc.Cosine(length=rounds),
        autocast=True,
    )
    pooled = rc.SGD(lr=POOLED_LR, momentum=0.9, batch_size=BATCH, schedule=rc.Cosine(length=passes), autocast=True)
    mixes = rc.LabelMix(SKEW, num_parts=AGENTS, seed=seed)
    return {
        "pooled": _experiment(source, rc.IID(num_parts=1, seed=seed), pooled, passes),
        "5 agents": _experiment(source, mixes, together, rounds),
    }


def _experiment(source: rc.Source, partition: rc.Partition, learner: rc.Learner, rounds: int) -> rc.Experiment:
    return rc.Experiment(
        TASK,
        rc.Split(source, partition, (learner,), val_fraction=0.0),
        (rc.Mean(),),
        TEST,
        run=rc.RunConfig(num_rounds=rounds, eval_every=rounds),
        checkpoint=rc.CheckpointConfig(every=10**6),
    )


def within_three_points(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    """Whether what is lost against pooled training is three points at most in every seed."""
    lost = gains(figures, "pooled", "5 agents")
    return {
        f"within 3 points of pooled training (by seed: {', '.join(f'{each:.1f}' for each in lost)})": max(lost) <= 3
    }


PAPER = Paper(
    title="CIFAR-10 from scratch, 10,000 images, 5 agents of 2,000, Dirichlet 0.3, small CNN, 10 passes",
    source="no published figure; beside pooled training with as many passes",
    kind="reduced",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy, %",
    published={},
    claims=within_three_points,
)
