"""Episodes together or one by one: the seconds of one outer step of second order, for three nets.

    python -m benchmarks.meta_speed               # one line of JSON for each net; threads from OMP_NUM_THREADS

32 tasks of MAML with one inner step: a 40-40 net on sinusoids, the 256-128-64-64 net and four blocks of 64 channels on
random images of 28 x 28, five classes, one example each to adapt to and five to be judged by. To reach: together at
least 5 times as fast for the first, 1.5 times for the second; what a run chooses never slower than one by one.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

import raycollab as rc
from benchmarks.papers.omniglot import conv4
from raycollab.params import Exchange, FlatModel

TASKS = 32


def setups(tiny: bool) -> Mapping[str, tuple[rc.Task, rc.MAML, Mapping[str, torch.Tensor]]]:
    """Task, learner and rows by the net's name."""
    few = rc.MAML(lr=0.4, tasks=rc.FewShot(5, 1, 5), episodes=2 if tiny else TASKS)
    images = {"image": torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0))}
    images["label"] = torch.arange(200) // 10
    full = rc.models.MLP(784, 5, hidden=(256, 128, 64, 64))
    conv = rc.models.Module(conv4, {"channels": 2 if tiny else 64, "num_outputs": 5})
    nothing = {"features": torch.zeros(2, 1), "label": torch.zeros(2)}
    sinusoids = replace(few, lr=0.01, tasks=rc.Sinusoids(10, 10))
    return {
        "40-40": (rc.Regression(rc.models.MLP(1, 1, hidden=(40, 40))), sinusoids, nothing),
        "256-128-64-64": (rc.ImageClassification(full, 5), few, images),
        "4 x 64 channels": (rc.ImageClassification(conv, 5), few, images),
    }


def seconds_of(name: str, vectorised: bool, repeats: int, tiny: bool = False) -> float:
    """Least of some outer steps, after one that warms up."""
    task, learner, columns = setups(tiny)[name]
    torch.manual_seed(0)
    model = FlatModel(task.model(), Exchange())
    problem = rc.Problem("a", task, model, rc.Shard(dict(columns), val_fraction=0.0, seed=0), lambda: False)
    params = model.read()
    round, asked = rc.Round(1, 0, 0, {"params": params}), replace(learner, vectorised=vectorised)
    return _least(lambda: asked.update(problem, params, asked.init(params), round), repeats)


def _least(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(repeats: int, tiny: bool = False) -> list[dict[str, object]]:
    """A line for each net."""
    lines: list[dict[str, object]] = []
    for name in setups(tiny):
        together, alone = (seconds_of(name, vectorised, repeats, tiny) for vectorised in (True, False))
        lines.append(
            {
                "net": name,
                "together_ms": round(1e3 * together, 2),
                "one_by_one_ms": round(1e3 * alone, 2),
                "ratio": round(alone / together, 2),
                "threads": torch.get_num_threads(),
                "cores": os.cpu_count(),
            }
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    for line in measure(parser.parse_args().repeats):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
