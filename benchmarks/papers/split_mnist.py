"""Split MNIST, class-incremental: five tasks of two digits one after another, one head; and a new digit in the end."""

from collections.abc import Mapping, Sequence

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, final_accuracy
from raycollab.adapt import AccuracyMatrix, Buffer, ByGroup

AGENTS, IMAGES, PER_TASK, NEW_AT, NEW_ROUNDS = 5, 10_000, 4, 10, 10
TASKS = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
OLD, NEW = tuple(range(9)), (9,)
NET = rc.models.MLP(784, 10, (400, 400))
STEPS = rc.SGD(lr=0.05, momentum=0.9, batch_size=32)
REPLAYING = rc.Replay(STEPS, Buffer(800), share=0.75)  # of each agent
REPLAY = "replay, 800 images an agent"
ARRIVES = "replay, a new digit at round 10"


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    images = rc.data.Holdout(
        TEST if tiny else TRAIN, "test", (500 if tiny else IMAGES) / (10_000 if tiny else 60_000), seed
    )
    per_task = 1 if tiny else PER_TASK
    starts = tuple(1 + per_task * number for number in range(1, len(TASKS)))
    groups = {" and ".join(map(str, digits)): digits for digits in TASKS}

    def experiment(
        sources: Sequence[rc.Source], at: Sequence[int], learner: rc.Learner, rounds: int, groups: Mapping[str, tuple]
    ) -> rc.Experiment:
        stream = rc.data.Changing(tuple(sources), tuple(at))
        agents = rc.Split(stream, rc.IID(AGENTS, seed=seed), (learner,), val_fraction=0.0)
        run = rc.RunConfig(num_rounds=rounds)
        every = rc.CheckpointConfig(every=10**6)
        test = rc.data.Holdout(TEST, "test", 0.05) if tiny else TEST
        return rc.Experiment(ByGroup(task(NET), groups), agents, (rc.Mean(),), test, run=run, checkpoint=every)

    parts = [rc.data.Only(images, digits) for digits in TASKS]
    learners = {
        "naive": STEPS,
        "LwF": rc.LwF(STEPS, starts),
        "EWC": rc.EWC(STEPS, strength=100.0, at_rounds=starts),
        REPLAY: REPLAYING,
    }
    rounds, new_at = per_task * len(TASKS), 2 if tiny else NEW_AT
    runs = {name: experiment(parts, starts, learner, rounds, groups) for name, learner in learners.items()}
    arrival = [rc.data.Only(images, OLD), rc.data.Only(images, NEW)]
    known = {"old": OLD, "new": NEW}
    last = new_at + (1 if tiny else NEW_ROUNDS) - 1
    runs[ARRIVES] = experiment(arrival, (new_at,), REPLAYING, last, known)
    return runs


def forgetting(result: rc.Result) -> float:
    """Mean over tasks of the best accuracy less the last, in points."""
    lost = list(AccuracyMatrix.of(result.history, result.primary).forgetting.values())
    return 100 * sum(lost) / len(lost)


def recall(result: rc.Result) -> float:
    """Share of the newest digit's, or the last task's, images that are right, in percent."""
    final = AccuracyMatrix.of(result.history, result.primary).final
    return 100 * final.get("new", list(final.values())[-1])


def lost(result: rc.Result) -> float:
    """What the first task, or the old digits, lost since the round before the newest came, in points."""
    matrix = AccuracyMatrix.of(result.history, result.primary)
    place = matrix.tasks.index("old") if "old" in matrix.tasks else 0
    before = NEW_AT - 1 if "old" in matrix.tasks else PER_TASK
    then = [row[place] for round, row in zip(matrix.rounds, matrix.values, strict=True) if round <= before][-1]
    return 100 * (then - matrix.values[-1][place])


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    replayed = figures[REPLAY]
    return {
        "naive at most 25": max(figures["naive"]) <= 25,
        "replay at least 90": min(replayed) >= 90,
        "a new digit is found in at least 90 % of its images": min(figures[f"{ARRIVES}, newest, %"]) >= 90,
        "the old digits lose at most 2 points": max(figures[f"{ARRIVES}, the first lost, points"]) <= 2,
    }


PAPER = Paper(
    title="Split MNIST, class-incremental, 5 agents, 10,000 images, MLP 400-400, 4 rounds of each of 5 tasks",
    source="beside published results of one learner with all 60,000 images",
    kind="reduced",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy on all ten digits after the last round, %",
    published={"naive": "23", "LwF": "23", "EWC": "20", REPLAY: "92"},
    claims=claims,
    columns={"forgetting, points": forgetting, "newest, %": recall, "the first lost, points": lost},
)
