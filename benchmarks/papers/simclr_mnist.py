"""Self-supervision on MNIST without labels by eight agents, then a linear probe that learns ten labels a class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, final_accuracy, gains

AGENTS, IMAGES, LABELS, TEMPERATURE = 8, 10_000, 100, 0.2
TRUNK = rc.models.CNN(128, channels=(16, 32), hidden=128, batch_norm=True)
PROJECTED = rc.models.Headed(TRUNK, rc.models.MLP(128, 32, (64,)))
CLASSIFIED = rc.models.Headed(TRUNK, rc.models.MLP(128, 10, ()))
VIEWS = (rc.tasks.ResizedCrop(scale=(0.3, 1.0)), rc.tasks.ColorJitter(saturation=0.0), rc.tasks.GaussianBlur())
PRETRAIN = rc.SGD(lr=0.1, momentum=0.9, batch_size=64, drop_last=True, autocast=True)
ROUNDS = 4
PROBE, SCRATCH, SUPERVISED_ROUNDS = rc.SGD(lr=0.1, momentum=0.9), rc.SGD(lr=0.1, momentum=0.9), 100
EVERYTHING, PROBED = "8 agents, then the probe", "pooled, then the probe"


def unlabelled(count: int, seed: int, *, tiny: bool) -> rc.Source:
    """This many training images, as many of each class; of the test images for a tiny run."""
    return rc.data.Holdout(TEST if tiny else TRAIN, "test", fraction=count / (10_000 if tiny else 60_000), seed=seed)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment | Mapping[str, rc.Experiment]]:
    images = unlabelled(800 if tiny else IMAGES, seed, tiny=tiny)
    labelled = rc.data.Holdout(images, "test", fraction=LABELS / (800 if tiny else IMAGES), seed=seed)
    rounds, late = (1, 2) if tiny else (ROUNDS, SUPERVISED_ROUNDS)
    test = unlabelled(500, seed + 1, tiny=True) if tiny else TEST

    def experiment(what: rc.Task, source: rc.Source, parts: int, learner: rc.Learner, num: int) -> rc.Experiment:
        agents = rc.Split(source, rc.IID(num_parts=parts, seed=seed), (learner,), val_fraction=0.0)
        run = rc.RunConfig(num_rounds=num, eval_every=num)
        return rc.Experiment(what, agents, (rc.Mean(),), test, run=run, checkpoint=rc.CheckpointConfig(every=10**6))

    learn = rc.SimCLR(PROJECTED, VIEWS, temperature=TEMPERATURE)
    linear = task(rc.models.Frozen(CLASSIFIED, ("trunk.*",)))
    probe = experiment(linear, labelled, AGENTS, PROBE, late)
    schedule = rc.Cosine(length=rounds)
    stages = {
        name: {
            "pretrain": experiment(learn, images, parts, replace(PRETRAIN, schedule=schedule), rounds),
            "probe": probe,
        }
        for name, parts in ((EVERYTHING, AGENTS), (PROBED, 1))
    }
    return {
        **stages,
        "fresh trunk, the probe alone": probe,
        "from scratch": experiment(task(CLASSIFIED), labelled, AGENTS, SCRATCH, late),
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
