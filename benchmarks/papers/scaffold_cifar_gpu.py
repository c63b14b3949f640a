"""SCAFFOLD against FedAvg at NVFlare's size: all of CIFAR-10, 8 agents, a CNN of 5.9 M parameters. For a GPU.

    python -m benchmarks.papers scaffold_cifar_gpu --seeds 0 1 2 --workers 1

It needs a GPU, and has not been run at full size yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

import raycollab as rc
from benchmarks.papers.cifar import TEST, TRAIN, images
from benchmarks.papers.paper import Paper, final_accuracy, gains
from raycollab.tasks import HorizontalFlip, RandomCrop

NUM_AGENTS, ROUNDS, EPOCHS = 8, 50, 4
SGD = rc.SGD(
    lr=0.01,
    momentum=0.9,
    batch_size=64,
    epochs=EPOCHS,
    schedule=rc.Cosine(length=ROUNDS * EPOCHS, final=0.01, over="epochs"),
)


def moderate_cnn() -> nn.Module:
    """NVFlare's ModerateCNN: three times two convolutions of 3x3, and three linear layers."""
    widths, layers = ((3, 32, 64, 0.0), (64, 128, 128, 0.05), (128, 256, 256, 0.0)), list[nn.Module]()
    for before, between, after, dropout in widths:
        layers += [nn.Conv2d(before, between, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(between, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Dropout2d(dropout)] if dropout else []
    head = [nn.Linear(4096, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(), nn.Dropout(0.1), nn.Linear(512, 10)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1), *head)


TASK = rc.ImageClassification(
    rc.models.Module("benchmarks.papers.scaffold_cifar_gpu:moderate_cnn"),
    10,
    augment=(RandomCrop(4, mode="reflect"), HorizontalFlip()),
)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    sgd = replace(SGD, epochs=1) if tiny else SGD
    learners = {"FedAvg": sgd, "SCAFFOLD": rc.Scaffold(sgd)}
    return {
        name: rc.Experiment(
            TASK,
            rc.Split(
                images(200, seed, tiny=True) if tiny else TRAIN,
                rc.Dirichlet(0.1, num_parts=NUM_AGENTS, seed=seed),
                (learner,),
                val_fraction=0.0,
            ),
            (rc.Mean(),),
            images(200, seed + 1, tiny=True) if tiny else TEST,
            run=rc.RunConfig(num_rounds=1 if tiny else ROUNDS, eval_every=5),
            scaling=rc.ScalingConfig(gpus_per_host=0.0 if tiny else 0.5, gpus_for_driver=0.0 if tiny else 0.5),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )
        for name, learner in learners.items()
    }


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    gain = gains(figures, "SCAFFOLD", "FedAvg")
    by_seed = ", ".join(f"{each:.1f}" for each in gain)
    return {f"SCAFFOLD gains 1.5 points or more on average (by seed: {by_seed})": sum(gain) >= 1.5 * len(gain)}


PAPER = Paper(
    title="SCAFFOLD - FedAvg on CIFAR-10, 8 agents, Dirichlet 0.1, moderate CNN, 50 rounds of 4 epochs",
    source="NVFlare, examples/advanced/cifar10",
    kind="GPU",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy, %",
    published={"FedAvg": "80.5", "SCAFFOLD": "82.6"},
    claims=claims,
)
