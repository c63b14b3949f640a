"""FedAvg's 2NN on MNIST: rounds until 97 %, with digits dealt out at random or two pieces of sorted digits a party."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, rounds_until

TARGET = 0.97
NET = rc.models.MLP(784, 10, hidden=(200, 200))
LEARNER = rc.SGD(lr=0.05, batch_size=10, epochs=1)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    parts = 200 if tiny else 100
    partitions = {
        "IID": rc.IID(parts, seed=seed),
        "two shards": rc.LabelShards(parts, labels_per_part=2, seed=seed),
    }
    run = rc.RunConfig(
        num_rounds=2 if tiny else 400,
        agents_per_round=2 if tiny else 10,
        target=None if tiny else f"accuracy >= {TARGET}",
    )
    return {
        name: rc.Experiment(
            task(NET),
            rc.Split(TRAIN, partition, (LEARNER,), val_fraction=0.0),
            (rc.Mean(),),
            TEST,
            run=run,
            checkpoint=rc.CheckpointConfig(every=10**6),
        )
        for name, partition in partitions.items()
    }


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    return {
        "IID needs at most 50 rounds on average": fmean(figures["IID"]) <= 50,
        "two shards need at most 220 rounds on average": fmean(figures["two shards"]) <= 220,
    }


PAPER = Paper(
    title="FedAvg, 2NN on MNIST, 100 agents, C=0.1, E=1, B=10",
    source="McMahan et al., AISTATS 2017, Table 1; lr 0.05 as in Bie's reproduction",
    kind="full run",
    experiments=experiments,
    figure=rounds_until(TARGET),
    unit="rounds until 97 %",
    published={"IID": "87; reproduction 46", "two shards": "664; reproduction 199"},
    claims=claims,
)
