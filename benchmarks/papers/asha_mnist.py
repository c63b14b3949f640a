"""A sweep's winner against the settings that one would have begun with, which get four times the rounds."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, final_accuracy, gains, interval
from benchmarks.papers.swept import Swept, agent_updates, examples

SOME = rc.data.Holdout(TRAIN, "test", 0.15)  # 9,000 of the training images
VALIDATION, SHARED = rc.data.Holdout(SOME, "test", 4 / 9), rc.data.Holdout(SOME, "train", 4 / 9)
ROUNDS, LONGER = 16, 4
WINNER, DEFAULT = "the winner of 16 trials, 16 rounds", "as it stood, 64 rounds"
SPACE = {
    "chain.0": {"choice": [rc.Mean(), rc.Mean("uniform")]},
    "chain.1.beta": {"uniform": [0.0, 0.9]},
    "agents.learners.0.lr": {"loguniform": [0.03, 0.5]},
    "agents.learners.0.epochs": {"choice": [1, 2, 4, 8]},
}


def experiments(
    seed: int, tiny: bool, *, shared: rc.data.Source = SHARED, test: rc.data.Source = TEST
) -> Mapping[str, rc.Experiment | Swept]:
    def experiment(rounds: int) -> rc.Experiment:
        return rc.Experiment(
            task(rc.models.MLP(784, 10, hidden=(64,))),
            rc.Split(
                shared, rc.Dirichlet(0.1, num_parts=10, seed=seed), (rc.SGD(lr=0.05, batch_size=32),), val_fraction=0.0
            ),
            (rc.Mean(), rc.Momentum(0.0)),
            test,
            run=rc.RunConfig(num_rounds=rounds),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    rounds = 2 if tiny else ROUNDS
    settings = rc.Search(SPACE, VALIDATION, num_samples=1 if tiny else 16, grace=4)
    return {WINNER: Swept(experiment(rounds), settings), DEFAULT: experiment(LONGER * rounds)}


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    gain = gains(figures, WINNER, DEFAULT)
    half = float(interval(gain).partition("± ")[2] or "nan")
    return {f"the winner is better by {interval(gain)} points, and so above 0": fmean(gain) - half > 0}


PAPER = Paper(
    title="ASHA over rule, server momentum, rate and epochs: MNIST, 5,000 images, 10 agents by Dirichlet(0.1)",
    source="a setup of our own",
    kind="reduced",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy, %",
    published={},
    claims=claims,
    columns={"updates of agents": agent_updates, "examples": examples},
)
