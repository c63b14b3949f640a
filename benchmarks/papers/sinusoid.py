"""Sinusoids: ten points of a curve and one step, from a start learned by MAML, by Meta-SGD, or on all curves pooled."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import torch

import raycollab as rc
from benchmarks.papers.paper import Paper
from raycollab.models import WithRates

NET = rc.models.MLP(1, 1, hidden=(40, 40))
NOBODY = {"features": torch.zeros(2, 1), "label": torch.zeros(2)}  # points come from functions, not from shards
CURVES = rc.meta.Sinusoids(support=10, query=10)


def experiments(seed: int, tiny: bool, *, rate: float = 3e-3, steps: int = 6_000) -> Mapping[str, rc.Experiment]:
    per_round = 2 if tiny else 250
    rounds = 1 if tiny else steps // per_round
    outer = rc.Optimizer("Adam", {"lr": rate}, keep_state=True, schedule=rc.Cosine(length=rounds, over="rounds"))
    outer_settings = {"outer": outer, "outer_steps": per_round, "episodes": 25, "vectorised": True, "tasks": CURVES}

    def experiment(learner: rc.meta.MetaLearner, judged: rc.meta.MetaLearner, net: rc.models.Model) -> rc.Experiment:
        episodes = 4 if tiny else 600
        judge = rc.MetaTask(rc.Regression(net), judged, rc.meta.Sinusoids(10, 100), episodes, seed=2**20 + seed)
        nobody = rc.data.Arrays(NOBODY, "no rows")
        return rc.Experiment(
            judge,
            rc.Parties((rc.Agent("a", nobody, learner, val_fraction=0.0),)),
            (rc.Mean(),),
            nobody,
            run=rc.RunConfig(num_rounds=rounds, eval_every=rounds),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    maml = rc.MAML(lr=0.01, **outer_settings)
    meta_sgd = rc.MetaSGD(**outer_settings)
    return {
        "pretraining": experiment(rc.MAML(lr=0.01, steps=0, **outer_settings), maml, NET),
        "MAML": experiment(maml, maml, NET),
        "Meta-SGD": experiment(meta_sgd, meta_sgd, WithRates(NET, 0.005, high=0.1)),
    }


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    means = {name: fmean(values) for name, values in figures.items() if "," not in name}
    return {
        "MAML's error is at most 0.90 on average": means["MAML"] <= 0.90,
        "Meta-SGD's error is at most 0.65 on average": means["Meta-SGD"] <= 0.65,
        "pretraining is more than twice as far off as either": means["pretraining"]
        > 2 * max(means["MAML"], means["Meta-SGD"]),
    }


PAPER = Paper(
    title="Sinusoid regression, 10 points, one step, 40-40 net",
    source="Finn et al., ICML 2017, section 5.1; figures of Li et al., Meta-SGD, 2017, Table 1",
    kind="full run",
    experiments=experiments,
    figure=lambda result: result.metrics["loss"],
    unit="squared error over 600 curves",
    published={"MAML": "0.77 ± 0.11", "Meta-SGD": "0.53 ± 0.09"},
    claims=claims,
    columns={"half of its interval over curves": lambda result: result.metrics["loss_half"]},
)
