"""Shapley values of updates, sampled and exact: `python -m benchmarks.papers.contribution --seeds 0 1 2`.

Five agents on MNIST, in settings after Liu et al., ACM TIST 2022, section 6. The rule is the mean whether values are
sampled or exact, so both runs of a setting see the same updates. Data is found through $RAYCOLLAB_DATA. Prints a
Markdown table and one line of JSON.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from raycollab.rng import numpy_generator

NUM_AGENTS, ROWS = 5, 10_000
HELD = {"fraction": 1 / 60}  # 1,000 of the training images, which no agent gets
VALIDATION, REST = rc.data.Holdout(TRAIN, "test", **HELD), rc.data.Holdout(TRAIN, "train", **HELD)


@dataclass(frozen=True)
class Portions(rc.Partition):
    """Some of the rows at random, in parts of sizes in these proportions."""

    portions: tuple[int, ...] = (1,) * NUM_AGENTS
    rows: int = ROWS
    seed: int = 0

    @property
    def num_parts(self) -> int:  # type: ignore[override]
        """One for each."""
        return len(self.portions)

    def assign(self, columns: Any) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        order = numpy_generator(self.seed, "portions").permutation(len(columns["label"]))[: self.rows]
        bounds = np.cumsum([0, *self.portions]) * len(order) // sum(self.portions)
        return [np.sort(order[start:stop]) for start, stop in pairwise(bounds)]


def agents(shards: Sequence[rc.Source], learner: rc.Learner) -> tuple[rc.Agent, ...]:
    return tuple(rc.Agent(f"party-{i}", shard, learner, val_fraction=0.0) for i, shard in enumerate(shards))


def settings(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    """The mean over five agents of each setting."""
    rows = 500 if tiny else ROWS
    learner = rc.SGD(lr=0.05, epochs=1, batch_size=32)
    alike = REST.split(Portions(rows=rows, seed=seed))
    noisy = [rc.data.Distorted(shard, (rc.data.Noise(0.5 * i),), "image", seed=i) for i, shard in enumerate(alike)]
    made = rc.Experiment(
        task(rc.models.MLP(784, 10, hidden=(64,))),
        rc.Parties(agents(alike, learner)),
        (rc.Contributions(validation=VALIDATION, rule=rc.Mean("uniform")),),
        TEST,
        run=rc.RunConfig(num_rounds=2 if tiny else 10, eval_every=10, seed=seed),
        scaling=rc.ScalingConfig(pool="local"),
        checkpoint=rc.CheckpointConfig(every=10**6, ledger=False),
    )

    def of(shards: Sequence[rc.Source], **changed: Any) -> rc.Experiment:
        return replace(made, agents=rc.Parties(agents(shards, learner)), **changed)

    sizes = REST.split(Portions((1, 2, 3, 4, 5), rows, seed))
    by_size = rc.Contributions(validation=VALIDATION)
    nobody = rc.Contributions(validation=VALIDATION, rule=rc.Mean(by_agent={f"party-{i}": 1.0 for i in range(4)}))
    return {
        "alike": made,
        "sizes 1 to 5": of(sizes, chain=(by_size,)),
        "noise 0 to 2": of(noisy),
        "labels": of(REST.split(rc.Dirichlet(0.5, num_parts=NUM_AGENTS, seed=seed))),
        "null player": of(alike, chain=(nobody,)),
        "free rider": replace(made, attack=rc.Attack("free_rider", 1)),
        "copy": of([*alike[:4], alike[3]]),
    }


def worths(experiment: rc.Experiment, method: str) -> tuple[np.ndarray, rc.Result, float]:
    """Each agent's contribution by round [rounds, agents], the result, and seconds a round."""
    chain = tuple(replace(step, method=method) for step in experiment.chain)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        result = rc.run_experiment(replace(experiment, chain=chain, run=replace(experiment.run, dir=folder)))
        seconds = (time.perf_counter() - begun) / result.num_rounds
    table: dict[int, list[float]] = {}
    for row in result.agents:
        table.setdefault(row["round"], []).append(row["contribution"])
    return np.array(list(table.values())), result, seconds


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation of values without ties."""
    return float(np.corrcoef(one.argsort().argsort(), other.argsort().argsort())[0, 1])


def measured(experiment: rc.Experiment) -> dict[str, Any]:
    """A setting by both methods: how well ranks agree, and the worth of the last agent."""
    exact, _, exact_seconds = worths(experiment, "shapley")
    sampled, result, seconds = worths(experiment, "gtg")
    total, last = sampled.sum(0), NUM_AGENTS - 1
    notes = " ".join(row["notes"] for row in result.history)
    bad = experiment.misbehaving()
    place = [agent.name for agent in experiment.members()].index(bad[0]) if bad else last
    return {
        "spearman": spearman(total, exact.sum(0)),
        "by_round": statistics.fmean(spearman(*pair) for pair in zip(sampled, exact, strict=True)),
        "efficiency": float(np.abs(sampled.sum(1) - exact.sum(1)).max()),
        "share": float(total[place] / total.sum()),
        "rank": int((total > total[place]).sum()) + 1,
        "exact": exact.sum(0).tolist(),
        "sampled": total.tolist(),
        "named": f"party-{place} adds little" in notes,
        "copies named": "like each other" in notes,
        "accuracy": result.metrics["accuracy"],
        "seconds": [round(seconds, 2), round(exact_seconds, 2)],
    }


def table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Markdown: a line for each setting, figures by seed."""

    def cell(rows: Sequence[Mapping[str, Any]], key: str, form: Callable[[Any], str]) -> str:
        return ", ".join(form(row[key]) for row in rows)

    lines = [
        "| setting | Spearman of sums, by seed | of single rounds | largest gap of sums | share and rank of the last |",
        "|---|---|---|---|---|",
    ]
    for name, rows in found.items():
        last = ", ".join(f"{100 * row['share']:.1f} % ({row['rank']})" for row in rows)
        lines.append(
            f"| {name} | {cell(rows, 'spearman', '{:.2f}'.format)} | {cell(rows, 'by_round', '{:.2f}'.format)} "
            f"| {max(row['efficiency'] for row in rows):.1e} | {last} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="names of some of the settings")
    parser.add_argument("--tiny", action="store_true", help="the version that tests run, to see that it works")
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in arguments.seeds:
        for name, experiment in settings(seed, arguments.tiny).items():
            if not arguments.only or name in arguments.only:
                found.setdefault(name, []).append(measured(experiment))
    print(f"{table(found)}\n\n{json.dumps(found)}")


if __name__ == "__main__":
    main()
