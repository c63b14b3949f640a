"""One run that faults happen to, in a process of its own: `python -m benchmarks.chaos.scene SPEC.json`."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray

from benchmarks.chaos.drivers import bits
from benchmarks.chaos.experiment import made, resumed
from benchmarks.chaos.faults import AGENTS, LOST_CALLS, SEVERAL_NODES, Fault
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.nodes import STORE, nodes
from benchmarks.chaos.watch import CallWatch, Watch
from raycollab.checkpoint import RunFolder, load_state
from raycollab.errors import Interrupted
from raycollab.experiment import Experiment
from raycollab.fitting import run_experiment


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    faults = [Fault(**fault) for fault in spec["faults"]]
    ledger, place, scene = Ledger(spec["ledger"]), Path(spec["folder"], "disk"), spec["scene"]
    experiment = made(scene, spec["seed"], spec["every"], ledger.path, str(place))
    with started(scene) as another_node:
        if scene == LOST_CALLS:
            watch: CallWatch | Watch = CallWatch(ledger, faults)
        else:
            watch = Watch(ledger, faults, AGENTS[scene], spec["every"], place, another_node)
        stopped(experiment, watch)
    once_more(experiment, ledger)


def stopped(experiment: Experiment, watch: Any) -> None:
    """Run until the faults are over.

    Raises: SystemExit if the run ends in another way than by being stopped.
    """
    try:
        run_experiment(experiment, callbacks=[watch])
    except Interrupted as error:
        print(error)
    else:
        raise SystemExit("the run ended before its faults did")


def once_more(experiment: Experiment, ledger: Ledger) -> None:
    """Resume the run for a round in this process, and note what it commits as any other round."""
    path = f"{experiment.run.dir}/{experiment.run.name}"
    folder = RunFolder.open(path)
    version, agents = folder.rows()[-1]["round"], [agent.name for agent in experiment.members()]
    for name in agents:
        stored = load_state(folder.agents_of(version), name)
        row = {"agent": name, "round": version + 1, "kept": stored["round"] if stored else 0}
        ledger.add("begun.jsonl", row)
    run_experiment(resumed(experiment, version), resume=path)
    found = folder.latest_checkpoint()
    if found is None or found[0] != version + 1:
        raise SystemExit(f"{path}: no checkpoint of round {version + 1} after a resume")
    vectors = found[1]["vectors"][str(version + 1)]
    before = ledger.rows("commits.jsonl")[-1]["after"]
    ledger.add("commits.jsonl", {"version": version + 1, "agents": agents, "before": before, "after": bits(vectors)})


@contextmanager
def started(scene: str) -> Iterator[Callable[[], object]]:
    """Ray as a scene has it; yields what adds a node."""
    with nodes(AGENTS[scene] + 1) if scene == SEVERAL_NODES else nullcontext() as cluster:  # one to spare
        if cluster:
            ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        else:
            of_its_own = {"num_cpus": 8, "include_dashboard": False, "object_store_memory": STORE}
            ray.init(address="local", log_to_driver=False, configure_logging=False, **of_its_own)
        try:
            yield cluster.add if cluster else lambda: None
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
