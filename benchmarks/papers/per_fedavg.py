"""Per-FedAvg against FedAvg on people that nobody trained with: one step on five examples of each activity."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev

import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

import raycollab as rc
from benchmarks.papers.paper import Paper, gains
from raycollab.meta.evaluation import Scorer
from raycollab.metrics import Statistics
from raycollab.rng import numpy_generator

FOLDS, EACH = 5, 5
ROUNDS, LOCAL, RATE, BATCH = 150, 5, 0.05, 15
ALPHA, STEP = 0.1, 0.3  # Per-FedAvg's rate in training, and that of the one step that is judged
_NAMES = ("user", "label")


@dataclass(frozen=True)
class OneStep(rc.Classification):
    """Scores each person by what one step on a few examples of each of their activities makes of the rest of them.

    Args:
        rate: Of the step.
    """

    rate: float = 0.1

    def evaluate(self, model: nn.Module, batches: Iterable[rc.Batch]) -> Statistics:
        """Accuracy over people, before the step and after it."""
        parts = list(batches)
        columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}
        scorer, before, after = Scorer(self, model, rc.MAML(lr=self.rate)), list[float](), list[float]()
        for user in columns["user"].unique().tolist() if parts else ():
            own = {name: column[columns["user"] == user] for name, column in columns.items()}
            order = numpy_generator(0, "support", int(user)).permutation(len(own["label"]))
            episode = episode_of(own, torch.from_numpy(order))
            before.append(scorer.score(scorer.params, episode)["accuracy"])
            after.append(scorer.score(scorer.adapted(episode), episode)["accuracy"])
        found = {"start_accuracy": before, "accuracy": after}
        return Statistics.of({name: rc.meta.OverEpisodes.of(name, values) for name, values in found.items()})


def episode_of(columns: Mapping[str, Tensor], order: Tensor) -> rc.meta.Episode:
    """Five rows of each activity of which there are more, and all other rows of these activities, in this order."""
    labels = columns["label"][order]
    within = one_hot(labels).cumsum(0).gather(1, labels.unsqueeze(1))[:, 0]  # how many there are up to each
    enough = torch.bincount(labels)[labels] > EACH
    support, query = order[(within <= EACH) & enough], order[(within > EACH) & enough]
    taken = [{name: column[rows] for name, column in columns.items()} for rows in (support, query)]
    return taken[0], taken[1]


@cache
def rows() -> dict[str, Tensor]:
    """Features as they are, NaN where unknown; activity and person."""
    table = pq.read_table(os.path.join(os.environ["RAYCOLLAB_DATA"], "wisdm_features.parquet"))
    names = [name for name in table.column_names if name not in _NAMES]
    numeric = [name for name in names if str(table.schema.field(name).type) in ("float", "double")]
    raw = torch.stack([torch.from_numpy(table[name].to_numpy(zero_copy_only=False).copy()) for name in numeric], 1)
    whole = {name: torch.from_numpy(table[name].to_numpy(zero_copy_only=False).astype("int64")) for name in _NAMES}
    return {"features": raw.float(), **whole}


def scaled(users: Sequence[int]) -> dict[str, Tensor]:
    """All rows, with features of mean 0 and deviation 1 over these people, unknown ones 0."""
    columns = rows()
    raw = columns["features"]
    own = raw[torch.isin(columns["user"], torch.tensor(users))]
    mean = own.nanmean(0)
    deviation = (own - mean).square().nanmean(0).sqrt().clamp(min=1e-6)
    return {**columns, "features": ((raw - mean) / deviation).nan_to_num().clamp(-5, 5)}


@cache
def people() -> list[list[int]]:
    """Who is in which fold."""
    users = rows()["user"].unique().tolist()
    order = [users[place] for place in numpy_generator(0, "people").permutation(len(users))]
    return [order[fold::FOLDS] for fold in range(FOLDS)]


def experiments(seed: int, tiny: bool, *, alpha: float = ALPHA, choosing: int = 0) -> Mapping[str, rc.Experiment]:
    """Fold f is held out by the seeds f, f + 5, f + 10 and so on, which change first weights, batches and who is drawn.

    Args:
        seed: Says which fold.
        tiny: One round of two people.
        alpha: Per-FedAvg's.
        choosing: If k in 1..4, leave the fold out altogether, and hold out the kth after it: to choose by training
            people alone.
    """
    folds, fold = people(), seed % FOLDS
    held = folds[(fold + choosing) % FOLDS]
    others = sorted(user for each in folds if each is not held and each is not folds[fold] for user in each)
    columns = scaled(others)
    net = rc.models.MLP(columns["features"].shape[1], 6, hidden=(64,))

    def source(users: Sequence[int], name: str) -> rc.Source:
        mine = torch.isin(columns["user"], torch.tensor(users))
        return rc.data.Arrays({key: column[mine] for key, column in columns.items()}, name)

    def experiment(name: str, learner: rc.Learner) -> rc.Experiment:
        agents = [
            rc.Agent(f"user-{user}", source([user], f"user {user}"), learner, val_fraction=0.0) for user in others
        ]
        rounds = 1 if tiny else ROUNDS
        return rc.Experiment(
            OneStep(net, 6, rate=STEP),
            rc.Parties(tuple(agents)),
            (rc.Mean("uniform"),),
            source(held, "held out"),
            run=rc.RunConfig(num_rounds=rounds, agents_per_round=2 if tiny else 10, eval_every=rounds),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    def personal(name: str, hessian: str) -> rc.PerFedAvg:
        outer = rc.SGD(lr=RATE)
        return rc.PerFedAvg(
            lr=alpha, hessian=hessian, tasks=rc.PartyTask(2 * BATCH, BATCH), outer=outer, outer_steps=LOCAL
        )

    return {
        "FedAvg": experiment("FedAvg", rc.SGD(lr=RATE, steps=LOCAL, batch_size=BATCH)),
        "Per-FedAvg (FO)": experiment("Per-FedAvg (FO)", personal("Per-FedAvg (FO)", "none")),
        "Per-FedAvg (HF)": experiment("Per-FedAvg (HF)", personal("Per-FedAvg (HF)", "difference")),
    }


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    """Gains by fold, each the mean over its seeds, which are in order."""
    said = {}
    for name in ("Per-FedAvg (FO)", "Per-FedAvg (HF)"):
        gain = gains(figures, name, "FedAvg")
        by_fold = [fmean(gain[fold::FOLDS]) for fold in range(min(FOLDS, len(gain)))]
        half = 2.78 * stdev(by_fold) / FOLDS**0.5 if len(by_fold) == FOLDS else float("inf")  # Student, 4 degrees
        told = ", ".join(f"{each:.1f}" for each in by_fold)
        text = f"{name} gains {fmean(by_fold):.1f} ± {half:.1f} points over FedAvg (by fold: {told})"
        said[f"{text}: above 0"] = fmean(by_fold) - half > 0
    return said


PAPER = Paper(
    title="Per-FedAvg on WISDM, people held out in 5 folds, one step on 5 examples an activity",
    source="Fallah et al., NeurIPS 2020, Algorithm 1; the setup is our own",
    kind="reduced",
    experiments=experiments,
    figure=lambda result: 100 * result.metrics["accuracy"],
    unit="accuracy after the step, %",
    published={},
    claims=claims,
    columns={"before the step": lambda result: 100 * result.metrics["start_accuracy"]},
)
