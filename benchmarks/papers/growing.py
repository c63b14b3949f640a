"""A model that grows: a tenth digit that comes at round 10, where a head has nine outputs; units that are doubled.

`python -m benchmarks.papers.growing` chooses how a new digit is learned, on training images that are held out.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, final_accuracy, gains
from benchmarks.papers.split_mnist import AGENTS, IMAGES, NEW, NEW_AT, NEW_ROUNDS, OLD, STEPS, lost, recall
from raycollab.adapt import Buffer, ByGroup

ROUNDS, WIDER_AT = 20, 10
HEAD, SAME_HEAD = "a new digit, the head grows from 9 to 10", "a new digit, 10 outputs from the start"
WIDTHS = (20, 200)  # which are doubled
SHARE, RATE = 0.9, 0.05  # found by `choose`
NEWEST, LOST, BYTES = "newest, %", "old digits lost, points", "sent, MB"


def arrival(seed: int, tiny: bool, *, grows: bool, share: float, rate: float, test: rc.Source = TEST) -> rc.Experiment:
    """Agents have nine digits, and from round 10 on only images of the tenth, beside 800 each that they kept."""
    images = _images(seed, tiny)
    at, rounds = (2, 1) if tiny else (NEW_AT, NEW_ROUNDS)
    stream = rc.data.Changing((rc.data.Only(images, OLD), rc.data.Only(images, NEW)), (at,))
    learner = rc.Replay(replace(STEPS, lr=rate), Buffer(800), share=share)
    learns = ByGroup(task(rc.models.MLP(784, 10, (400, 400))), {"old": OLD, "new": NEW})
    growth = rc.Growth((rc.models.MLP(784, 9, (400, 400)),), rc.growth.NewClasses()) if grows else None
    return _experiment(seed, tiny, learns, stream, learner, at + rounds - 1, growth, test)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    """All of them."""
    rounds = 3 if tiny else ROUNDS
    images = _images(seed, tiny)

    def wide(width: int, growth: rc.Growth | None = None) -> rc.Experiment:
        return _experiment(seed, tiny, task(rc.models.MLP(784, 10, (width,))), images, STEPS, rounds, growth, TEST)

    made = {name: arrival(seed, tiny, grows=name == HEAD, share=SHARE, rate=RATE) for name in (HEAD, SAME_HEAD)}
    for width in WIDTHS:
        small, large, grows = names(width)
        wider = rc.Growth((rc.models.MLP(784, 10, (width,)),), rc.growth.AtRounds((2 if tiny else WIDER_AT,)))
        made |= {small: wide(width), large: wide(2 * width), grows: wide(2 * width, wider)}
    return made


def names(width: int) -> tuple[str, str, str]:
    """Of the small net, of the large one, and of the one that grows."""
    return f"{width} units", f"{2 * width} units", f"{width} units, {2 * width} from round {WIDER_AT}"


def choose(seed: int = 100) -> None:
    """Print what each share of replayed images and each rate makes of a new digit, on training images held out."""
    rest = rc.data.Holdout(rc.data.Holdout(TRAIN, "train", IMAGES / 60_000, seed), "test", 0.2, seed)
    for share in (0.75, 0.9):
        for rate in (0.02, 0.05, 0.1):
            made = arrival(seed, False, grows=True, share=share, rate=rate, test=rest)
            with tempfile.TemporaryDirectory() as folder:
                run, local = replace(made.run, dir=folder, seed=seed), replace(made.scaling, pool="local")
                result = rc.run_experiment(replace(made, run=run, scaling=local))
            print(f"share {share} rate {rate}: new {recall(result):.1f} %, old lost {lost(result):.2f}", flush=True)


def sent(result: rc.Result) -> float:
    """What all agents sent in all rounds, in MB."""
    return sum(row["bytes_sent"] or 0 for row in result.agents) / 1e6


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    """What is to hold in every seed."""
    found = {
        "a new digit is found in at least 90 % of its images": min(figures[f"{HEAD}, {NEWEST}"]) >= 90,
        "the old digits lose at most 2 points": max(figures[f"{HEAD}, {LOST}"]) <= 2,
    }
    for width in WIDTHS:
        small, _, grows = names(width)
        gain = gains(figures, grows, small)
        by_seed = ", ".join(f"{each:.2f}" for each in gain)
        found[f"{grows} is better than {small} in all seeds (by seed: {by_seed})"] = min(gain) > 0
    return found


def _where_one_comes(number: Callable[[rc.Result], float]) -> Callable[[rc.Result], float]:
    """A number of the runs to which a new digit comes; nan in the others."""
    return lambda result: number(result) if "accuracy/new" in result.history[-1] else math.nan


def _images(seed: int, tiny: bool) -> rc.Source:
    share = 500 / 10_000 if tiny else IMAGES / 60_000
    return rc.data.Holdout(TEST if tiny else TRAIN, "test", share, seed)


def _experiment(
    seed: int,
    tiny: bool,
    learns: rc.Task,
    images: rc.Source,
    learner: rc.Learner,
    rounds: int,
    growth: rc.Growth | None,
    test: rc.Source,
) -> rc.Experiment:
    agents = rc.Split(images, rc.IID(AGENTS, seed=seed), (learner,), val_fraction=0.0)
    run, every = rc.RunConfig(num_rounds=rounds), rc.CheckpointConfig(every=10**6)
    test = rc.data.Holdout(TEST, "test", 0.05) if tiny else test
    slices = rc.Exchange(slices=growth is not None)
    return rc.Experiment(learns, agents, (rc.Mean(),), test, exchange=slices, run=run, checkpoint=every, growth=growth)


PAPER = Paper(
    title="Growth on MNIST, 5 agents, 10,000 images: MLP 400-400 and a new digit; MLPs of 20 and 200 units, doubled",
    source="beside published results of growing nets (Chen et al., ICLR 2016), which are of ImageNet",
    kind="reduced",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy on all ten digits after the last round, %",
    published={},
    claims=claims,
    columns={NEWEST: _where_one_comes(recall), LOST: _where_one_comes(lost), BYTES: sent},
)


if __name__ == "__main__":
    choose()
