"""Server momentum under extreme label skew: nearly every party holds one digit, five of a hundred take part."""

from collections.abc import Mapping

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, final_accuracy, positive_gain

NET = rc.models.CNN(10, size=28, channels=(16, 32), hidden=64)
LEARNER = rc.SGD(lr=0.003, batch_size=64, epochs=1)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    chains = {"no momentum": (rc.Mean(),), "momentum 0.97": (rc.Mean(), rc.Momentum(0.97))}
    run = rc.RunConfig(num_rounds=1 if tiny else 300, agents_per_round=2 if tiny else 5, eval_every=10)
    return {
        name: rc.Experiment(
            task(NET),
            rc.Split(TRAIN, rc.LabelMix(0.01, num_parts=200 if tiny else 100, seed=seed), (LEARNER,), val_fraction=0.0),
            chain,
            TEST,
            run=run,
            checkpoint=rc.CheckpointConfig(every=10**6),
        )
        for name, chain in chains.items()
    }


PAPER = Paper(
    title="Server momentum on MNIST, LDA alpha 0.01, 100 agents, 5 a round, E=1, B=64, lr 0.003, 300 rounds",
    source="Hsu et al., 2019, Figure 5: on Fashion-MNIST, 1,000 rounds, read off the plot",
    kind="reduced: digits, a CNN of 106,000 parameters, 300 rounds",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy, %",
    published={"no momentum": "76.5 (Fashion-MNIST)", "momentum 0.97": "84.7 (Fashion-MNIST)"},
    claims=positive_gain("momentum 0.97", "no momentum"),
)
