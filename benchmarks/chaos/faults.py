"""What can go wrong, and a plan of what goes wrong when, drawn from a seed."""

import random
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

ONE_NODE, SEVERAL_NODES, LOST_CALLS = "one-node", "several-nodes", "lost-calls"
AGENTS = {ONE_NODE: 4, SEVERAL_NODES: 3, LOST_CALLS: 3}  # by scene
_MOST = {ONE_NODE: 30, SEVERAL_NODES: 10, LOST_CALLS: 10}  # faults of one run


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        name: As `--only` takes it.
        what: In words.
        scene: Where it can happen.
        kills_agent: Whether what it costs is the start of another actor for an agent.
    """

    name: str
    what: str
    scene: str = ONE_NODE
    kills_agent: bool = False


KINDS = (
    Kind("agent-before", "agent killed before it trains", kills_agent=True),
    Kind("agent-training", "agent killed while it trains", kills_agent=True),
    Kind("agent-after", "agent killed after it has trained", kills_agent=True),
    Kind("agent-sending", "agent killed while it sends", kills_agent=True),
    Kind("agent-start", "agent killed, and its replacement as well while it starts", kills_agent=True),
    Kind("driver-selection", "driver killed in the selection"),
    Kind("driver-collecting", "driver killed while it collects"),
    Kind("driver-aggregation", "driver killed in the aggregation"),
    Kind("driver-commit", "driver killed in the commit"),
    Kind("driver-checkpoint", "driver killed while it writes a checkpoint"),
    Kind("late", "agent late, until it is told to stop"),
    Kind("hang", "agent hangs for ever"),
    Kind("length", "update of a wrong length"),
    Kind("nan", "update with NaN"),
    Kind("stale", "update of another round"),
    Kind("duplicate", "update sent twice"),
    Kind("disk-full", "disk full for some rounds"),
    Kind("node", "node killed", SEVERAL_NODES, kills_agent=True),
    Kind("lost-object", "result lost from the store with its node", SEVERAL_NODES, kills_agent=True),
    Kind("lost-call", "call or its answer lost", LOST_CALLS, kills_agent=True),
)
BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True)
class Fault:
    """One fault of a plan.

    Args:
        number: Its place in the plan.
        kind: Name of its kind.
        agent: Number of the agent that it hits, where it hits one.
        gap: Undisturbed rounds before it, at least.
        step: The local step at which it strikes, from 1, where it strikes in one.
        delay_s: How long after its point it strikes, where it is a matter of time.
        spot: Chooses among the points of its kind, from 0.
    """

    number: int
    kind: str
    agent: int
    gap: int
    step: int
    delay_s: float
    spot: int

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def planned(count: int, seed: int, only: Collection[str] = ()) -> list[Fault]:
    """As many faults, of each kind as often as of any other but for one, in an order of the seed."""
    draw = random.Random(seed)
    kinds = [kind for kind in KINDS if not only or kind.name in only]
    chosen = [kinds[index % len(kinds)] for index in range(count)]
    draw.shuffle(chosen)
    return [
        Fault(
            number=number,
            kind=kind.name,
            agent=draw.randrange(AGENTS[kind.scene]),
            gap=draw.randint(1, 4),
            step=draw.randint(1, 10),
            delay_s=draw.random(),
            spot=draw.randrange(12),
        )
        for number, kind in enumerate(chosen)
    ]


def scenes(faults: Collection[Fault]) -> list[tuple[str, list[Fault]]]:
    """The faults by run: a run has one scene, and only so many of them."""
    runs = []
    for scene in AGENTS:
        mine = [fault for fault in faults if BY_NAME[fault.kind].scene == scene]
        runs += [(scene, mine[start : start + _MOST[scene]]) for start in range(0, len(mine), _MOST[scene])]
    return runs
