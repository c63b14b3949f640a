"""What spreading meta-learning over agents costs: episodes a second of 8 agents on 2 hosts, and of plain processes.

    python -m benchmarks.meta_hosts               # one line of JSON; one thread a process

MAML of second order with four blocks of 64 channels on random images of 28 x 28, five classes, one example each to
adapt to and five to be judged by. On Ray, 8 agents in two actors take an outer step each round: four episodes an agent,
whose gradients are merged and go through Adam. Beside them two processes that know nothing of each other take outer
steps of the same learner and net, 16 episodes each. Both take turns, so that what else the machine does falls on both
alike. To reach: at most 10 % fewer episodes a second than the two processes together.
"""

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tempfile import TemporaryDirectory

import torch

import raycollab as rc
from benchmarks.meta_speed import setups
from benchmarks.systems.ours import Watch
from raycollab.params import Exchange, FlatModel

NET = "4 x 64 channels"
AGENTS, HOSTS, EPISODES = 8, 2, 4  # episodes of one agent's outer step


def of_agents(rounds: int, tiny: bool = False) -> float:
    """Episodes a second of the agents on Ray, in the median round after the first."""
    task, learner, columns = setups(tiny)[NET]
    source = rc.data.Arrays(dict(columns), "random images")
    shared = rc.MAML(lr=learner.lr, tasks=learner.tasks, episodes=EPISODES, vectorised=False)
    agents = [rc.Agent(f"party-{number}", source, shared, val_fraction=0.0) for number in range(AGENTS)]
    watch = Watch()
    with TemporaryDirectory() as folder:
        rc.fit(
            agents,
            rc.chain(rc.Mean("uniform"), rc.ServerOptimizer("Adam", {"lr": 1e-3})),
            test=source,
            task=rc.MetaTask(task, shared, episodes=2),
            run=rc.RunConfig(num_rounds=rounds + 1, eval_every=rounds + 1, dir=folder),
            scaling=rc.ScalingConfig(agents_per_host=AGENTS // HOSTS),
            checkpoint=rc.CheckpointConfig(every=10**6),
            callbacks=[watch],
        )
    rounds_s = [after - before for before, after in itertools.pairwise(watch.ended)]
    return AGENTS * EPISODES / statistics.median(rounds_s[: rounds - 1])  # the last one is evaluated


def of_processes(count: int, steps: int, tiny: bool = False) -> float:
    """Episodes a second of so many processes together, each in its median outer step after the first."""
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        return sum(pool.map(_alone, [steps] * count, [tiny] * count))


def _alone(steps: int, tiny: bool) -> float:
    torch.set_num_threads(1)
    task, learner, columns = setups(tiny)[NET]
    episodes = AGENTS * EPISODES // HOSTS
    own = rc.MAML(lr=learner.lr, tasks=learner.tasks, episodes=episodes, vectorised=False)
    model = FlatModel(task.model(), Exchange())
    problem = rc.Problem("a", task, model, rc.Shard(dict(columns), val_fraction=0.0, seed=0), lambda: False)
    params, times = model.read(), []
    for number in range(steps + 1):
        start = time.perf_counter()
        own.update(problem, params, own.init(params), rc.Round(number, 0, 0, {"params": params}))
        times.append(time.perf_counter() - start)
    return episodes / statistics.median(times[1:])


def measure(repeats: int, rounds: int, tiny: bool = False) -> dict[str, object]:
    """Medians over turns, and the share of the processes' episodes a second that the agents reach in a turn."""
    spread, alone = list[float](), list[float]()
    for _ in range(repeats):
        spread.append(of_agents(rounds, tiny))
        alone.append(of_processes(HOSTS, rounds, tiny))
    return {
        "net": NET,
        "agents": AGENTS,
        "hosts": HOSTS,
        "episodes_per_s": round(statistics.median(spread), 2),
        "two_processes_episodes_per_s": round(statistics.median(alone), 2),
        "share": round(statistics.median(_ratios(spread, alone)), 3),
        "shares": [round(ratio, 3) for ratio in _ratios(spread, alone)],
        "cores": os.cpu_count(),
    }


def _ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(ours, others, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="turns")
    parser.add_argument("--rounds", type=int, default=8, help="outer steps of a turn")
    given = parser.parse_args()
    print(json.dumps(measure(given.repeats, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
