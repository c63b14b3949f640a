"""Labels that mean something else, or images that are corrupted, for half of the agents from round 15 on."""

import math
import statistics
from collections.abc import Mapping, Sequence

import raycollab as rc
from benchmarks.papers.cifar import HalfSize
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper
from raycollab.adapt import Branch, KolmogorovSmirnov, RefreshNorm

AGENTS, IMAGES, ROUNDS, AT = 10, 5_000, 30, 15
DISTURBED = tuple(f"party-{index}" for index in range(0, AGENTS, 2))
NET = HalfSize(rc.models.CNN(10, size=14, channels=(8, 16), hidden=64, batch_norm=True))
STEPS = rc.SGD(lr=0.05, momentum=0.9, batch_size=32, drop_last=True)
POLICY = (
    rc.Watch("inputs", KolmogorovSmirnov(), (RefreshNorm(),)),
    rc.Watch("loss", KolmogorovSmirnov(), (Branch(),)),
)
TURNED = tuple((label + 1) % 10 for label in range(10))
BAD_LENS = (rc.data.Rescale(gain=0.3, offset=1.0), rc.data.Noise(std=0.2))  # a third of the contrast, brighter, noisy
LEVEL = 0.02
NEVER = "undisturbed, watched"
CEILING = "images, so from the first round on"  # what can be learned from them


def changed(source: rc.Source, kind: str) -> rc.Source:
    """A shard as it is from round 15 on."""
    if kind == "labels":
        return rc.data.Relabelled(source, TURNED)
    return rc.data.Distorted(source, BAD_LENS, seed=7)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    images = rc.data.Holdout(
        TEST if tiny else TRAIN, "test", (600 if tiny else IMAGES) / (10_000 if tiny else 60_000), seed
    )
    shards = images.split(rc.Dirichlet(1.0, num_parts=AGENTS, seed=seed))
    rounds, at, window = (4, 3, 16) if tiny else (ROUNDS, AT, 64)
    acting = rc.OnDrift(STEPS, POLICY, window=window)

    def experiment(kind: str, learner: rc.Learner, *, ever: bool = False) -> rc.Experiment:
        agents = []
        for index, shard in enumerate(shards):
            name = f"party-{index}"
            other = changed(shard, kind) if kind and name in DISTURBED else shard
            then = other if ever or other is shard else rc.data.Changing((shard, other), (at,))
            agents.append(rc.Agent(name, then, learner, val_fraction=0.25))
        test = rc.data.Holdout(TEST, "test", 0.05 if tiny else 0.2, seed)
        run = rc.RunConfig(num_rounds=rounds)
        every = rc.CheckpointConfig(every=10**6)
        own = rc.Exchange(buffers="private" if ever else "average")  # BatchNorm's statistics, which differ for ever
        return rc.Experiment(
            task(NET), rc.Parties(tuple(agents)), (rc.Mean(),), test, exchange=own, run=run, checkpoint=every
        )

    return {
        NEVER: experiment("", acting),
        "labels, without": experiment("labels", STEPS),
        "labels, with actions": experiment("labels", acting),
        "images, without": experiment("images", STEPS),
        "images, with actions": experiment("images", acting),
        CEILING: experiment("images", STEPS, ever=True),
    }


def personal(result: rc.Result) -> list[float]:
    """Mean accuracy of the agents that are disturbed, by round, each on its own rows and by the model that it uses."""
    rows = [row for row in result.agents if row["agent"] in DISTURBED and not row["failure"]]
    score = {(row["round"], row["agent"]): row.get("personal_val_accuracy") or row["val_accuracy"] for row in rows}
    return [statistics.fmean(score[index, name] for name in DISTURBED) for index in range(1, result.num_rounds + 1)]


def final_personal(result: rc.Result) -> float:
    """Mean of the last three rounds, in percent."""
    return 100 * statistics.fmean(personal(result)[-3:])


def shared(result: rc.Result) -> float:
    """Accuracy on the shared test set, mean of the last three rounds, in percent."""
    return 100 * statistics.fmean(row["accuracy"] for row in result.history[-3:])


def recovery(result: rc.Result) -> float:
    """Rounds with the other data until they score within two points of what they scored before it."""
    by_round = personal(result)
    at = min(AT, result.num_rounds - 1)
    before = statistics.fmean(by_round[max(at - 4, 0) : at - 1])
    return next((float(n) for n, score in enumerate(by_round[at - 1 :], 1) if score >= before - LEVEL), math.inf)


def alarms(result: rc.Result, which: Sequence[str], first: int, last: int) -> float:
    """Share of some agents that changed something in these rounds, in percent."""
    found = {row["agent"] for row in result.changes if first <= row["round"] <= last and row["outcome"] != "ended"}
    return 100 * len(found & set(which)) / len(which)


def detected(result: rc.Result) -> float:
    """Disturbed agents that acted within three rounds, in percent."""
    return alarms(result, DISTURBED, AT, AT + 2)


def false_alarms(result: rc.Result) -> float:
    """Undisturbed agents that acted at any time, and others that acted before there was a reason, in percent."""
    others = [f"party-{index}" for index in range(AGENTS) if f"party-{index}" not in DISTURBED]
    return (alarms(result, others, 1, ROUNDS) + alarms(result, DISTURBED, 1, AT - 1)) / 2


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    found: dict[str, bool] = {}
    for kind in ("labels", "images"):
        acted, bare = f"{kind}, with actions", f"{kind}, without"
        found[f"{kind}: all seen within three rounds"] = min(figures[f"{acted}, seen in 3 rounds, %"]) == 100
        lost = [a - b for a, b in zip(figures[NEVER], figures[acted], strict=True)]
        found[f"{kind}: personal accuracy within 2 points of a run that was never disturbed ({_listed(lost)})"] = (
            max(lost) <= 2
        )
        shared_lost = [
            a - b for a, b in zip(figures[f"{NEVER}, shared, %"], figures[f"{acted}, shared, %"], strict=True)
        ]
        found[f"{kind}: the shared accuracy within 1 point of it ({_listed(shared_lost)})"] = max(shared_lost) <= 1
        pairs = zip(figures[f"{acted}, rounds to recover"], figures[f"{bare}, rounds to recover"], strict=True)
        found[f"{kind}: recovered in at most half the rounds"] = all(
            math.isfinite(one) and one <= other / 2 for one, other in pairs
        )
    false = figures[f"{NEVER}, false alarms, %"]
    found[f"at most 5 % of undisturbed agents raise an alarm in {ROUNDS} rounds"] = statistics.fmean(false) <= 5
    return found


def _listed(values: Sequence[float]) -> str:
    return "by seed: " + ", ".join(f"{value:.1f}" for value in values)


PAPER = Paper(
    title="Drift at round 15 for half of 10 agents, 5,000 images of MNIST, Dirichlet 1.0, CNN, 30 rounds",
    source="our own setup",
    kind="reduced",
    experiments=experiments,
    figure=final_personal,
    unit="personal accuracy of the disturbed half, mean of the last three rounds, %",
    published={},
    claims=claims,
    columns={
        "shared, %": shared,
        "rounds to recover": recovery,
        "seen in 3 rounds, %": detected,
        "false alarms, %": false_alarms,
    },
)
