"""What a round costs its driver, per agent and per byte, and what follows for clusters of other sizes.

    python -m benchmarks.scale

prints one JSON line of what was measured on this machine, and the table of cluster/SCALING.md: seconds that a round
takes beyond the agents' own learning. The network is not measured but given (`--network`, bytes a second).
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ray
import torch

import raycollab as rc
from raycollab.aggregation import Node, Partial, total_of
from raycollab.checkpoint import RunFolder
from raycollab.driver import Driver
from raycollab.runtime.layout import Layout
from raycollab.runtime.pool import Collected, Pool, collect
from raycollab.runtime.sharing import ShareResult
from raycollab.types import AgentCard, AgentReport
from raycollab.vectors import plus, use_all_cores

NODES = (10, 100, 1_000)
PARAMS = (1_000_000, 100_000_000, 7_000_000_000)
REPEATS = 5


@dataclass(frozen=True)
class Costs:
    """Seconds of the driver: for an agent, for a call to its host, and for a byte that is summed or applied."""

    per_agent_s: float
    per_call_s: float
    per_byte_summed_s: float
    per_byte_applied_s: float


@dataclass(frozen=True)
class Cluster:
    """One agent on each of so many nodes, and the network between them.

    Args:
        nodes: How many.
        params: Exchanged parameters.
        network: Bytes a second of a node's connection.
        bytes_per_param: On the wire: 4 in float32, 2 in bfloat16, 1 in 8 bits.
        slices: Actors that sum a slice each, on nodes of their own; 0 leaves it to the driver.
    """

    nodes: int
    params: int
    network: float = 1.25e9
    bytes_per_param: float = 4.0
    slices: int = 0


def predicted_s(costs: Costs, cluster: Cluster) -> float:
    """Seconds of a round beside the agents' learning, if each copy of the round leaves through the driver's connection.

    Ray also lets nodes hand on what they have received, so that the broadcast is faster than this.
    """
    wire, full = cluster.params * cluster.bytes_per_param, 4.0 * cluster.params
    broadcast = cluster.nodes * wire / cluster.network
    adders = max(1, cluster.slices)
    arrival = cluster.nodes * wire / (adders * cluster.network)
    gathered = wire / cluster.network if cluster.slices else 0.0
    summed = cluster.nodes * full * costs.per_byte_summed_s / adders
    calls = cluster.nodes * (costs.per_agent_s + costs.per_call_s)
    return broadcast + arrival + gathered + summed + full * costs.per_byte_applied_s + calls


class Canned(Pool):
    """Hosts that have done their work already: what is left is the driver's."""

    def __init__(self, names: Sequence[str], partial: Callable[[str], Partial]):
        self._layout, self._partial = Layout(tuple(names), len(names)), partial

    def open(self, offer: Any) -> list[Any]:
        """All are there."""
        return [AgentCard(name, 1, "", "", remembers=False) for name in self._layout.names]

    def run(self, round: Any, assignments: Any, *, enough: Any = None, stop: Any = None) -> Collected:
        """What agents have done already is collected."""
        blocks, results = self._layout.blocks_of(assignments), []
        for block in blocks:
            name = block.assignments[0].agent
            node = Node(0, block.index, self._partial(name))
            results.append(ShareResult((node,), (AgentReport(name, 1, 0.0),), (), (0, 0, 0)))
        return collect(results, blocks, bytes_up=0, bytes_down=0)

    def ask(self, messages: Any, round: Any) -> dict:
        """Nobody is asked anything."""
        return {}

    def validate(self, round: Any, last_rounds: Any) -> Callable[[], dict]:
        """Nobody has data of its own."""
        return dict

    def save(self, storage: Any, last_rounds: Any) -> Callable[[], list]:
        """Nothing is remembered."""
        return list

    def add(self, agent: Any, offer: Any, slot: int) -> Any:
        """See Pool."""
        raise NotImplementedError("nobody joins")

    def restore(self, storage: Any, names: Any) -> None:
        """Nothing is remembered."""

    def close(self) -> None:
        """Nothing to free."""


def seconds_of_rounds(count: int) -> float:
    """Seconds of a round of so many agents whose updates are there already, for a model of two parameters."""
    names = [f"agent-{index}" for index in range(count)]
    task = rc.Classification(rc.models.MLP(num_features=1, num_outputs=2, hidden=()), num_classes=2)
    rule, told = rc.Mean(), rc.Round(1, 0, 0, {})
    digits = rc.data.Arrays({"features": torch.zeros(2, 1), "label": torch.tensor([0, 1])})
    agents = rc.Parties(tuple(rc.Agent(name, digits, rc.SGD(), val_fraction=0.0) for name in names))
    run = rc.RunConfig(num_rounds=REPEATS + 2, eval_every=REPEATS + 2)
    rare = rc.CheckpointConfig(every=REPEATS + 2)
    experiment = rc.Experiment(task, agents, (rule,), digits, run=run, checkpoint=rare).resolved()

    def partial(name: str) -> Partial:
        return rule.collect(rc.Update(name, 1.0, {"delta": torch.zeros(4)}), told)

    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(experiment.plan(), Canned(names, partial), RunFolder.create(folder, "run"))
        driver.start()
        return statistics.median(driver.step().seconds for _ in range(REPEATS + 1))


def per_call_s(calls: int = 1_000) -> float:
    """Seconds of a call to an actor with an answer of a kilobyte, among many under way."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        actor = ray.remote(num_cpus=0)(Echo).remote()
        ray.get(actor.answer.remote())
        times = [_seconds(lambda: ray.get([actor.answer.remote() for _ in range(calls)])) for _ in range(REPEATS)]
        return statistics.median(times) / calls
    finally:
        ray.shutdown()


class Echo:
    """An actor that answers at once."""

    def answer(self) -> bytes:
        """A kilobyte."""
        return bytes(1_000)


def per_byte_s(params: int, count: int = 8) -> tuple[float, float]:
    """Seconds for a byte of an update that is summed, and of one that is applied."""
    rule, told = rc.Mean(), rc.Round(1, 0, 0, {})
    deltas = [torch.rand(params) for _ in range(count)]
    collected = [rule.collect(rc.Update(str(at), 1.0, {"delta": delta}), told) for at, delta in enumerate(deltas)]
    nodes = [Node(0, index, partial) for index, partial in enumerate(collected)]
    params_now = torch.zeros(params)
    state = rule.init(params_now)
    summed = [
        _seconds(lambda: rule.update(total_of(nodes, range(count)), state, params_now, seed=0)) for _ in range(REPEATS)
    ]
    applied = [_seconds(lambda: plus(deltas[0], deltas[1])) for _ in range(REPEATS)]
    size = 4 * params
    return statistics.median(summed) / (count * size), statistics.median(applied) / size


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def table(costs: Costs, network: float) -> str:
    """Seconds of a round beside learning: float32 through the driver, and bfloat16 over as many slices as pay."""
    lines = ["| nodes | parameters | float32, driver sums | bfloat16, driver sums | bfloat16, n/10 slices |"]
    lines.append("|" + "---:|" * 5)
    for nodes in NODES:
        for params in PARAMS:
            ways = [Cluster(nodes, params, network), Cluster(nodes, params, network, 2.0)]
            ways.append(Cluster(nodes, params, network, 2.0, max(1, nodes // 10)))
            cells = " | ".join(f"{predicted_s(costs, way):,.2f} s" for way in ways)
            lines.append(f"| {nodes:,} | {params / 1e6:,.0f} M | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=float, default=1.25e9, help="bytes a second of a node (default: 10 Gbit/s)")
    parser.add_argument("--tiny", action="store_true", help="see that it runs")
    arguments = parser.parse_args()
    few, many, params = (4, 8, 1_000) if arguments.tiny else (200, 2_000, 25_000_000)
    use_all_cores()
    per_agent = (seconds_of_rounds(many) - seconds_of_rounds(few)) / (many - few)
    costs = Costs(per_agent, per_call_s(10 if arguments.tiny else 1_000), *per_byte_s(params))
    print(json.dumps({"cores": os.cpu_count(), **asdict(costs)}))
    print(table(costs, arguments.network))


if __name__ == "__main__":
    main()
