"""Agents that can hold all, half or a quarter of a net's width, in one run."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import raycollab as rc
from benchmarks.papers.cifar import HalfSize
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, gains
from raycollab.models import Width

NET = HalfSize(rc.models.CNN(10, size=14, channels=(32, 64), hidden=128))
LEARNER = rc.SGD(lr=0.2, batch_size=32, epochs=1)
AGENTS, IMAGES, ROUNDS = 9, 10_000, 20
WIDTHS = (1.0, 0.5, 0.25)
NAMES = {1.0: "full", 0.5: "half", 0.25: "quarter"}
MIXED = ("HeteroFL", "without Scaler", "FjORD")
POINTS = 2


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    return made(seed, tiny, LEARNER, rc.data.Holdout(TEST, "test", fraction=0.03) if tiny else TEST)


def made(seed: int, tiny: bool, learner: rc.Learner, test: rc.Source) -> Mapping[str, rc.Experiment]:
    """All runs of a seed, with a learner and a test set, by which one agent of each width, or each alone, is scored."""
    source = rc.data.Holdout(TEST if tiny else TRAIN, "test", fraction=0.04 if tiny else IMAGES / 60_000, seed=seed)
    shards = source.split(rc.Dirichlet(0.5, by="label", num_parts=AGENTS, seed=seed))
    rounds = 2 if tiny else ROUNDS

    def agent(number: int, widths: Sequence[float], scaled: bool, scored: bool) -> rc.Agent:
        width = widths[number % len(widths)]
        holds, own = Width(width, scaled=scaled), test if scored or number < len(widths) else None
        return rc.Agent(f"{NAMES[width]}-{number}", shards[number], learner, val_fraction=0.0, test=own, holds=holds)

    def run(*widths: float, ordered: bool = False, scaled: bool = False, scored: bool = False) -> rc.Experiment:
        return rc.Experiment(
            rc.tasks.OrderedDropout(task(NET), WIDTHS) if ordered else task(NET),
            rc.Parties(tuple(agent(number, widths, scaled, scored) for number in range(AGENTS))),
            (rc.Mean(),),
            test,
            exchange=rc.Exchange(slices=True),
            run=rc.RunConfig(num_rounds=rounds, eval_every=rounds),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    return {
        "all full": run(1.0),
        "HeteroFL": run(*WIDTHS, scaled=True),
        "without Scaler": run(*WIDTHS),
        "FjORD": run(*WIDTHS, ordered=True),
        "all a quarter": run(0.25),
        "alone": rc.local_only(run(*WIDTHS, scored=True)),
    }


def of_width(width: float) -> Callable[[rc.Result], float]:
    """Mean accuracy of the agents of a width by what they hold, or have learned alone, in percent."""

    def figure(result: rc.Result) -> float:
        rows = [row for row in result.agents if row["round"] == result.num_rounds]
        mine = [row for row in rows if row["agent"].startswith(NAMES[width]) and "test_accuracy" in row]
        scores = [row.get("personal_test_accuracy", row["test_accuracy"]) for row in mine]
        return 100 * statistics.fmean(scores) if scores else math.nan

    return figure


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    found = {}
    for name in MIXED:
        gain = gains(figures, name, "all full")
        found[f"{name}: the whole net is within {POINTS} points of all full (by seed: {_listed(gain)})"] = (
            min(gain) >= -POINTS
        )
        for width in ("half", "quarter"):
            gain = gains(figures, f"{name}, {width}", f"alone, {width}")
            found[f"{name}: {width} nets are better than alone in every seed (by seed: {_listed(gain)})"] = (
                min(gain) > 0
            )
    return found


def _listed(gain: Sequence[float]) -> str:
    return ", ".join(f"{each:.1f}" for each in gain)


PAPER = Paper(
    title="Three capacities on MNIST at half size, 10,000 images, 9 agents, Dirichlet 0.5, a CNN of 94,000 parameters",
    source="HeteroFL, Diao et al., ICLR 2021; FjORD, Horvath et al., NeurIPS 2021: other setups",
    kind="reduced",
    experiments=experiments,
    figure=of_width(1.0),
    unit="accuracy of the whole net, %",
    published={},
    claims=claims,
    columns={"half": of_width(0.5), "quarter": of_width(0.25)},
)
