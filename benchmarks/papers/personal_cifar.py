"""Models of the agents' own against one for all, where each agent has few of the ten labels."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import raycollab as rc
from benchmarks.papers.cifar import TASK, TEST, images
from benchmarks.papers.paper import Paper, gains
from raycollab.personal import fed_per

AGENTS, IMAGES, ROUNDS, EVERY, LATE = 20, 10_000, 60, 10, 3
HEAD = ("1.9.*",)  # the last layer of the CNN
SGD = rc.SGD(lr=0.1, batch_size=20)
TUNE = replace(SGD, epochs=2)
CLAIMED = ("FedPer", "FedRep", "Ditto", "FedALA")
POINTS = 8


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    rounds = 2 if tiny else ROUNDS
    source = images(400 if tiny else IMAGES, seed, tiny=tiny)
    test = images(100, seed + 1, tiny=True) if tiny else TEST
    parts = rc.Dirichlet(0.1, by="label", num_parts=4 if tiny else AGENTS, seed=seed)

    def experiment(learner: rc.Learner, exchange: rc.Exchange = rc.Exchange()) -> rc.Experiment:  # noqa: B008 - frozen
        return rc.Experiment(
            TASK,
            rc.Split(source, parts, (learner,), val_fraction=0.25),
            (rc.Mean(),),
            test,
            exchange=exchange,
            run=rc.RunConfig(num_rounds=rounds, eval_every=EVERY),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    private = fed_per(*HEAD)
    alone = rc.local_only(experiment(SGD))
    return {
        "FedAvg": experiment(SGD),
        "alone": replace(alone, run=replace(alone.run, eval_every=EVERY)),
        "FedPer": experiment(SGD, private),
        "FedRep": experiment(rc.FedRep(SGD), private),
        "Ditto": experiment(rc.Ditto(SGD, mu=0.1)),
        "FedALA": experiment(rc.FedALA(SGD, head=HEAD)),
        "APFL": experiment(rc.APFL(SGD)),
        "pFedMe": experiment(rc.PFedMe(SGD, mu=15.0, inner_steps=5, lr=0.05)),
        "FedBABU": experiment(rc.FedBABU(SGD, tune=TUNE), private),
        "fine-tuning": experiment(rc.FineTune(SGD, tune=TUNE)),
    }


def accuracies(result: rc.Result, *, own: bool = True) -> list[dict[str, float]]:
    """Accuracy by agent in each of the last evaluations, on the quarter of its images that it does not train on.

    Args:
        result: Of the run.
        own: By the model of its own where there is one, not the common one.
    """
    scored: dict[int, dict[str, float]] = {}
    for row in result.agents:
        value = row.get("personal_val_accuracy") if own else None
        value = row.get("val_accuracy") if value is None else value
        if value is not None:
            scored.setdefault(row["round"], {})[row["agent"]] = value
    return [scored[index] for index in sorted(scored)][-LATE:]


def accuracy(result: rc.Result, *, own: bool = True) -> float:
    """Mean of the last evaluations over all agents' held-out images together, in percent."""
    size = sizes(result.agents)
    late = accuracies(result, own=own)
    return 100 * statistics.fmean(
        sum(size[name] * value for name, value in each.items()) / sum(size[name] for name in each) for each in late
    )


def sizes(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Training images by agent: thrice as many as it holds out."""
    return {row["agent"]: row["weight"] for row in rows if row.get("weight")}


def worst(result: rc.Result) -> float:
    """Accuracy of the agent that is worst off after the last round, in percent."""
    return 100 * min(accuracies(result)[-1].values())


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    found = {}
    for name in CLAIMED:
        gain = gains(figures, name, "FedAvg")
        by_seed = ", ".join(f"{each:.1f}" for each in gain)
        text = f"{name} is at least {POINTS} points above FedAvg in every seed (by seed: {by_seed})"
        found[text] = min(gain) >= POINTS
    return found


PAPER = Paper(
    title="Personal models on CIFAR-10, 10,000 images, 20 agents, Dirichlet 0.1, small CNN, 60 rounds of 1 epoch",
    source="beside PFLlib's Fashion-MNIST, 20 agents, Dirichlet 0.1",
    kind="reduced",
    experiments=experiments,
    figure=accuracy,
    unit="accuracy on the agents' own held-out images, %",
    published={
        "FedAvg": "85.9",
        "FedPer": "97.4",
        "FedRep": "97.6",
        "Ditto": "97.5",
        "FedALA": "97.7",
        "APFL": "97.3",
        "pFedMe": "97.3",
        "FedBABU": "97.5",
    },
    claims=claims,
    columns={"common model": lambda result: accuracy(result, own=False), "worst agent": worst},
)
