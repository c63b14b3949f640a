"""Credit default split by columns over three parties, beside the same net in one process and each party alone.

`python -m benchmarks.papers.vertical_credit --seeds 0 1 2` prints a Markdown table and one line of JSON;
`--choose` first chooses lr and rounds by scores on a fifth of the training rows, as was done; `--tiny` is for tests.
Data is found through $RAYCOLLAB_DATA.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import raycollab as rc
from benchmarks.papers.paper import interval
from raycollab.data import Arrays, Columns, Parquet
from raycollab.data.columns import take_rows
from raycollab.rng import derive_seed, numpy_generator
from raycollab.vertical.rows import hashed

MONTHS = range(1, 7)
STATUS = tuple(f"PAY_{month}" for month in (0, 2, 3, 4, 5, 6))
NUMBERS = {
    "payments": (*STATUS, *(f"PAY_AMT{month}" for month in MONTHS)),
    "bills": ("LIMIT_BAL", *(f"BILL_AMT{month}" for month in MONTHS)),
    "people": ("AGE",),
}
MEAN = {"payments": [-0.18] * 6 + [5300] * 6, "bills": [167000, *[45000] * 6], "people": [35.5]}
DEVIATION = {"payments": [1.15] * 6 + [17500] * 6, "bills": [130000, *[66000] * 6], "people": [9.2]}
NAMES = {"people": {"SEX": ("1", "2"), "EDUCATION": tuple("0123456"), "MARRIAGE": tuple("0123")}}
SALT = bytes(range(32))  # in a benchmark it hides nothing
TEST, VALIDATION = rc.vertical.HeldOut(0.2, seed=0), rc.vertical.HeldOut(0.2, seed=1)
FUSION, HEAD, BATCH = rc.fusion.Concatenation(64), rc.models.MLP(64, 2, (64,)), 256
PASSES = (2, 4, 6, 8, 10, 15, 20)
TOGETHER, POOLED = "three parties", "one process, all columns"
SETTINGS = {TOGETHER: (3e-3, 6), POOLED: (3e-3, 10), "payments": (1e-3, 20), "bills": (3e-3, 20), "people": (3e-3, 15)}


def net(party: str) -> rc.models.Tabular:
    sizes = [len(names) for names in NAMES.get(party, {}).values()]
    return rc.models.Tabular(16, len(NUMBERS[party]), sizes, MEAN[party], DEVIATION[party], hidden=(64,), dropout=0.1)


def inputs(party: str) -> tuple[str, ...]:
    return "numbers", *NAMES.get(party, {})


def task() -> rc.Classification:
    return rc.Classification(HEAD, 2)


def tables(keep: float) -> dict[str, Columns]:
    """Each party's rows, without one in a hundred of its own choice, in an order of its own."""
    found = {}
    for party, numbers in NUMBERS.items():
        label = "label" if party == "people" else None
        names = NAMES.get(party, {})
        file = Parquet("credit_default.parquet", ("ID", *numbers, *names), label=label, categories=names,
                       stack={"numbers": numbers})  # fmt: skip
        columns = file.read()
        kept = round(0.99 * len(columns["ID"]))
        order = numpy_generator(0, "rows", party).permutation(len(columns["ID"]))[:kept]
        found[party] = take_rows(columns, order[columns["ID"].numpy()[order] <= keep * len(columns["ID"])])
    return found


def without(held: Mapping[str, Columns], test: rc.vertical.HeldOut) -> dict[str, Columns]:
    """The tables without the rows that are held out: those are for nobody who chooses."""
    kept = {party: ~test.of(hashed(columns["ID"], SALT, party)) for party, columns in held.items()}
    return {party: take_rows(columns, np.flatnonzero(kept[party])) for party, columns in held.items()}


def together(held: Mapping[str, Columns], test: rc.vertical.HeldOut, lr: float, rounds: int, seed: int) -> list[float]:
    """AUC after each round of the three parties."""
    with tempfile.TemporaryDirectory() as folder:
        salt = Path(folder) / "salt"
        salt.write_bytes(SALT)
        salt.chmod(0o600)
        parties = [
            rc.vertical.Party(
                party, Arrays(columns, party), id="ID", salt=str(salt), net=net(party), inputs=inputs(party),
                label="label" if party == "people" else None, args={"lr": lr},
            )
            for party, columns in held.items()
        ]  # fmt: skip
        run = rc.RunConfig(dir=folder, num_rounds=rounds, seed=seed)
        local, last = rc.ScalingConfig(pool="local"), rc.CheckpointConfig(every=10**6)
        result = rc.vertical.fit(
            parties, task(), fusion=FUSION, test=test, batch_size=BATCH, run=run, scaling=local, checkpoint=last
        )
        return [row["auc"] for row in result.history]


class OneProcess(torch.nn.Module):
    """The nets of some parties, the fusion and the head in one module."""

    def __init__(self, parties: Sequence[str]):
        super().__init__()
        self.nets = torch.nn.ModuleDict({party: net(party).build() for party in parties})
        self.fusion = FUSION.build(dict.fromkeys(parties, 16), 2)
        self.head = HEAD.build()

    def forward(self, rows: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Logits of rows by party."""
        return self.head(self.fusion({party: self.nets[party](rows[party]) for party in self.nets}))


def one_process(
    held: Mapping[str, Columns], parties: Sequence[str], test: rc.vertical.HeldOut, lr: float, rounds: int, seed: int
) -> list[float]:
    """AUC after each pass of an ordinary loop over the same rows, with batches of its own."""
    rows, labels, out = joined(held, parties, test)
    torch.manual_seed(derive_seed(seed, "one process"))
    model = OneProcess(parties)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    train, scores = torch.from_numpy(np.flatnonzero(~out)), []
    tested = {party: values[out] for party, values in rows.items()}
    for _ in range(rounds):
        model.train()
        for batch in train[torch.randperm(len(train))].split(BATCH):
            optimizer.zero_grad()
            logits = model({party: values[batch] for party, values in rows.items()})
            torch.nn.functional.cross_entropy(logits, labels[batch]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            scores.append(task().scored(model(tested), {"label": labels[out]}).compute()["auc"])
    return scores


def joined(
    held: Mapping[str, Columns], parties: Sequence[str], test: rc.vertical.HeldOut
) -> tuple[dict[str, torch.Tensor], torch.Tensor, np.ndarray]:
    """Rows that all three parties have, side by side: inputs of some parties, labels, and which are held out."""
    common = sorted(set.intersection(*(set(columns["ID"].tolist()) for columns in held.values())))
    out = test.of(hashed(torch.tensor(common), SALT, "common"))
    chosen = {}
    for party, columns in held.items():
        place = {each: row for row, each in enumerate(columns["ID"].tolist())}
        chosen[party] = take_rows(columns, np.array([place[each] for each in common]))
    rows = {
        party: torch.cat([chosen[party][name].reshape(len(common), -1).float() for name in inputs(party)], 1)
        for party in parties
    }
    return rows, chosen["people"]["label"].long(), out


def scores_of(
    name: str, held: Mapping[str, Columns], test: rc.vertical.HeldOut, lr: float, rounds: int, seed: int
) -> list[float]:
    if name == TOGETHER:
        return together(held, test, lr, rounds, seed)
    parties = tuple(NUMBERS) if name == POOLED else (name,)
    return one_process(held, parties, test, lr, rounds, seed)


def choose(held: Mapping[str, Columns]) -> dict[str, tuple[float, int]]:
    """The best rate and number of passes of each, by another seed and AUC on some of the training rows."""
    kept, best = without(held, TEST), {}
    for name in SETTINGS:
        found = {}
        for lr in (1e-3, 3e-3):
            scores = scores_of(name, kept, VALIDATION, lr, max(PASSES), seed=100)
            found |= {(lr, passes): scores[passes - 1] for passes in PASSES}
            print(f"{name}, lr {lr:g}: " + ", ".join(f"{passes}: {scores[passes - 1]:.4f}" for passes in PASSES))
        best[name] = max(found, key=lambda each: found[each])
        print(f"{name}: {best[name]}", flush=True)
    return best


def claims(figures: Mapping[str, Sequence[float]]) -> dict[str, bool]:
    apart = [abs(one - other) for one, other in zip(figures[TOGETHER], figures[POOLED], strict=True)]
    gains = {
        party: [one - other for one, other in zip(figures[TOGETHER], figures[party], strict=True)] for party in NUMBERS
    }
    said = {f"within .01 of one process (by seed: {_listed(apart)})": max(apart) <= 0.01}
    said |= {f"above {party} alone (by seed: {_listed(each)})": min(each) > 0 for party, each in gains.items()}
    return said


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def measured(
    seeds: Sequence[int],
    held: Mapping[str, Columns],
    settings: Mapping[str, tuple[float, int]] = SETTINGS,
    rounds: int | None = None,
) -> str:
    """The table, whether the claims hold, and a line of JSON."""
    figures: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for name, (lr, chosen) in settings.items():
        for seed in seeds:
            start = time.perf_counter()
            figures.setdefault(name, []).append(scores_of(name, held, TEST, lr, rounds or chosen, seed)[-1])
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    lines = ["| | AUC: mean and 95 % interval | by seed | seconds a run |", "|---|---|---|---|"]
    for name, scores in figures.items():
        shown = name if name not in NUMBERS else f"{name} alone, with the labels"
        lines.append(f"| {shown} | {interval(scores)} | {_listed(scores)} | {statistics.median(seconds[name]):.0f} |")
    said = [f"- {'holds' if holds else 'DOES NOT HOLD'}: {claim}" for claim, holds in claims(figures).items()]
    line = {"paper": "vertical_credit", "seeds": list(seeds), "figures": figures, "seconds": seconds}
    return "\n".join([*lines, "", *said, json.dumps(line)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--choose", action="store_true", help="choose settings anew, on training rows")
    parser.add_argument("--tiny", action="store_true", help="the version that tests run, to see that it works")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    held = tables(0.05 if arguments.tiny else 1.0)
    settings = choose(held) if arguments.choose else SETTINGS
    print(measured(arguments.seeds, held, settings, 1 if arguments.tiny else None))


if __name__ == "__main__":
    main()
