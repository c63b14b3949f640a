"""raycollab through its public API: two hosts on Ray, or all in one process."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

import raycollab as rc
from benchmarks.systems.parties import TEST, Generated, Simulated
from benchmarks.workloads import Outcome, Workload, parse_task
from benchmarks.workloads.outcome import parser
from raycollab.types import RoundReport

CHECKPOINT_EVERY = 10  # rounds


def main() -> None:
    made = parser()
    made.add_argument("--pool", choices=("ray", "local"), default="ray")
    made.add_argument("--set", nargs="*", default=[], help="settings such as scaling.agents_at_once=10")
    arguments, workload = parse_task(made)
    experiment = made_of(workload, arguments.tiny, arguments.pool, arguments.processes, arguments.folder)
    for setting in arguments.set:
        path, _, value = setting.partition("=")
        experiment = changed(experiment, path.split("."), yaml.safe_load(value))
    watch = Watch()
    result = rc.run_experiment(experiment, callbacks=[watch])
    moved = sum(row["bytes_up"] + row["bytes_down"] for row in result.history)
    Outcome(watch.ended, result.metrics["accuracy"], moved).write(
        arguments.folder, "raycollab", "ray", "torch", "numpy"
    )


class Watch(rc.Callback):
    """Notes when the process that waits for the run hears of each round."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def on_round(self, report: RoundReport) -> None:
        """A round was committed."""
        del report
        self.ended.append(time.time())


def made_of(workload: Workload, tiny: bool, pool: str, hosts: int, folder: str) -> rc.Experiment:
    """The workload as an experiment that makes every tenth round durable."""
    net = rc.models.Module(f"benchmarks.workloads.nets:{workload.net}", dict(workload.net_args))
    learner = rc.SGD(lr=workload.lr, batch_size=workload.batch_size)
    return rc.Experiment(
        task=rc.Classification(net, workload.num_classes),
        agents=Simulated(workload.name, workload.agents, learner, tiny),
        chain=(rc.Mean(),),
        test=Generated(workload.name, TEST, tiny),
        run=rc.RunConfig(
            name="run",
            dir=folder,
            num_rounds=workload.rounds,
            agents_per_round=workload.agents_per_round,
            eval_every=workload.eval_every or workload.rounds,
        ),
        scaling=rc.ScalingConfig(pool=pool, agents_per_host=-(-workload.agents // hosts)),
        checkpoint=rc.CheckpointConfig(every=CHECKPOINT_EVERY),
    )


def changed(settings: Any, path: Sequence[str], value: Any) -> Any:
    """Frozen settings with the one at this path replaced."""
    first, *rest = path
    if isinstance(settings, Mapping | tuple):
        raise SystemExit(f"--set: {first!r} is inside {settings!r}; only settings of dataclasses can be set")
    return replace(settings, **{first: changed(getattr(settings, first), rest, value) if rest else value})


if __name__ == "__main__":
    main()
