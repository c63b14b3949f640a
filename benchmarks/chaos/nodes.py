"""A Ray cluster of several nodes on this machine, in a process of its own, which is asked for more of them.

`python -m benchmarks.chaos.nodes COUNT` says the address, adds a node for each line that it reads, and ends the cluster
with its input.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ray.cluster_utils import Cluster

STORE = 100 << 20  # bytes of an object store
_NOTICING = {  # the death of a node within two seconds, and no busy one taken for dead
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 3,
}
_MARK = "address: "
_TRIES = 5


def main() -> None:
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE, "_system_config": _NOTICING}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(int(sys.argv[1])):
        add_to(cluster)
    print(f"{_MARK}{cluster.address}", flush=True)
    for _ in sys.stdin:
        add_to(cluster)
    cluster.shutdown()


def add_to(cluster: Cluster) -> None:
    """Add a node of one CPU; on a busy machine it may not be there in time, and another one is tried.

    Raises: SystemExit if none comes.
    """
    for _ in range(_TRIES):
        try:
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
        except Exception as error:  # Ray raises nothing more particular
            print(error, file=sys.stderr)
        else:
            return
    raise SystemExit(f"no node came in {_TRIES} tries")


@dataclass(frozen=True)
class Nodes:
    """A running cluster.

    Args:
        address: Where it is reached.
        add: Asks for one more node.
    """

    address: str
    add: Callable[[], None]


@contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    """A head without CPUs, and so many nodes of one each.

    Raises: SystemExit if it does not start.
    """
    command = [sys.executable, "-m", "benchmarks.chaos.nodes", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        told, said = process.stdin, process.stdout
        address = next((line.removeprefix(_MARK).strip() for line in said or () if line.startswith(_MARK)), "")
        if told is None or not address:
            raise SystemExit(f"the cluster did not start: {process.wait()}")

        def another() -> None:
            told.write("\n")
            told.flush()

        yield Nodes(address, another)
        told.close()
        process.wait()


if __name__ == "__main__":
    main()
