"""What learned weights cost a round: ten agents with 500 examples each, a million parameters, one pass."""

from collections.abc import Mapping, Sequence

import raycollab as rc
from benchmarks.papers.clocked import MORE, SECONDS, SHARE, Clocked
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper

VALIDATION = rc.data.Holdout(TRAIN, "test", 1 / 60)
SHARED = rc.data.Holdout(rc.data.Holdout(TRAIN, "train", 1 / 60), "test", 5 / 59)  # 5,000 images for ten agents
LEARNED, SMALL, BESIDE = "batches of 64", "batches of 32", "% more than a round with the mean"


def experiments(seed: int, tiny: bool) -> Mapping[str, Clocked]:
    def experiment(rule: rc.Aggregator) -> rc.Experiment:
        return rc.Experiment(
            task(rc.models.MLP(784, 10, hidden=(16,) if tiny else (1024, 200))),
            rc.Split(SHARED, rc.IID(num_parts=10, seed=seed), (rc.SGD(lr=0.05, batch_size=32),), val_fraction=0.0),
            (rule,),
            TEST,
            run=rc.RunConfig(num_rounds=3 if tiny else 12, eval_every=100),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    mean, small = experiment(rc.Mean()), rc.LearnedWeights(VALIDATION, batch_size=32)
    return {
        LEARNED: Clocked(experiment(rc.LearnedWeights(VALIDATION)), mean),
        SMALL: Clocked(experiment(small), mean),
    }


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    of_round = {name: max(figures[name]) for name in (LEARNED, SMALL)}
    over_mean = {name: max(figures.get(f"{name}, {BESIDE}", [0.0])) for name in of_round}
    return {
        **{f"{name}: at most 20 % of the round (most: {most:.1f} %)": most <= 20 for name, most in of_round.items()},
        **{f"{name}: at most 20 {BESIDE} (most: {most:.1f} %)": most <= 20 for name, most in over_mean.items()},
    }


PAPER = Paper(
    title="Learned weights: cost of a round, 10 agents x 500 examples x 1 pass, d = 1.0 M, 1,000 validation examples",
    source="a measurement of our own",
    kind="reduced",
    experiments=experiments,
    figure=lambda result: result.metrics[SHARE],
    unit="search, % of the round's time of the processor",
    published={},
    claims=claims,
    columns={
        BESIDE: lambda result: result.metrics[MORE],
        "seconds of a round with the mean": lambda result: result.metrics[SECONDS],
    },
)
