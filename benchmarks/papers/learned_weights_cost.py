"""What learned weights cost a round: ten agents with 500 examples each, a million parameters, one pass."""

from collections.abc import Mapping, Sequence

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper

VALIDATION = rc.data.Holdout(TRAIN, "test", 1 / 60)
SHARED = rc.data.Holdout(rc.data.Holdout(TRAIN, "train", 1 / 60), "test", 5 / 59)  # 5,000 images for ten agents
MEAN, LEARNED, SMALL = "mean", "learned weights, batches of 64", "learned weights, batches of 32"


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    def experiment(rule: rc.Aggregator) -> rc.Experiment:
        return rc.Experiment(
            task(rc.models.MLP(784, 10, hidden=(16,) if tiny else (1024, 200))),
            rc.Split(SHARED, rc.IID(num_parts=10, seed=seed), (rc.SGD(lr=0.05, batch_size=32),), val_fraction=0.0),
            (rule,),
            TEST,
            run=rc.RunConfig(num_rounds=3 if tiny else 20, eval_every=100),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    small = rc.LearnedWeights(VALIDATION, batch_size=32)
    return {
        MEAN: experiment(rc.Mean()),
        LEARNED: experiment(rc.LearnedWeights(VALIDATION)),
        SMALL: experiment(small),
    }


def round_seconds(result: rc.Result) -> float:
    """Of the fastest round, which others on the machine disturbed least; the last one is scored, and does not count."""
    return min(row["seconds"] for row in result.history[1:-1])


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    cost = {
        name: max(learned / mean - 1 for learned, mean in zip(figures[name], figures[MEAN], strict=True))
        for name in (LEARNED, SMALL)
    }
    return {
        f"{name}: the search costs at most 20 % of a round in every seed (most: {100 * most:.0f} %)": most <= 0.2
        for name, most in cost.items()
    }


PAPER = Paper(
    title="Learned weights: cost of a round, 10 agents x 500 examples x 1 pass, d = 1.0 M, 1,000 validation examples",
    source="a measurement of our own",
    kind="reduced",
    experiments=experiments,
    figure=round_seconds,
    unit="seconds a round",
    published={},
    claims=claims,
)
