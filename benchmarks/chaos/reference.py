"""What an undisturbed run commits where the same agents take part: every committed round is computed again."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from benchmarks.chaos.drivers import bits
from benchmarks.chaos.ledger import Ledger
from raycollab.checkpoint import RunFolder
from raycollab.config import CheckpointConfig, FailureConfig
from raycollab.driver import Driver
from raycollab.errors import RoundStopped
from raycollab.experiment import Experiment
from raycollab.learners import Learner
from raycollab.population import Parties
from raycollab.runtime.pool import LocalPool
from raycollab.task import Problem
from raycollab.tree import map_leaves
from raycollab.types import Round, State, Update

Memory = dict[str, dict[int, State]]  # what agents remember, by the round that made it


@dataclass
class Script:
    """Who takes part in the next round, from which of its memories; what each makes of it comes back in `made`."""

    kept: dict[str, int] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)
    made: Memory = field(default_factory=dict)


@dataclass(frozen=True)
class Scripted(Learner):
    """Learns as another learner does, if a script says so, and from the memory that it says."""

    learner: Learner
    script: Script

    def init(self, params: Tensor) -> State:
        """What the other begins with."""
        return self.learner.init(params)

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take part or not."""
        script, name = self.script, problem.agent
        if name not in script.kept:
            raise RoundStopped(f"agent {name!r} takes no part in round {round.index}")
        kept = script.kept[name]
        state = script.memory[name][kept] if kept else self.init(params)
        update, after = self.learner.update(problem, params, state, round)
        own = map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, after)
        script.made[name] = {**script.memory.get(name, {}), round.index: own}
        return update, after


@dataclass(frozen=True)
class Point:
    """A run after a round: the driver's state, what agents remember, and the bits of the vectors."""

    state: Any
    memory: Memory
    bits: str


class Reference:
    """Takes any run of an experiment one round further, in this process.

    Args:
        experiment: The experiment.
        dir: A folder for what it leaves.
    """

    def __init__(self, experiment: Experiment, dir: str):
        self._script = Script()
        agents = [replace(agent, learner=Scripted(agent.learner, self._script)) for agent in experiment.members()]
        quiet = replace(
            experiment,
            agents=Parties(tuple(agents)),
            run=replace(experiment.run, eval_every=experiment.run.num_rounds),
            failure=FailureConfig(quarantine_after=None),
            checkpoint=CheckpointConfig(every=experiment.run.num_rounds),
        )
        pool = LocalPool(quiet.session(), quiet.members(), quiet.layout(num_cpus=1))
        self._driver = Driver(quiet.plan(), pool, RunFolder.create(dir, "reference"))
        self._driver.start()
        self.start = Point(self._driver.state_dict(), {}, bits(self._driver.vectors))

    def after(self, point: Point, kept: dict[str, int]) -> Point:
        """The run one round later, where these agents take part, each with what it remembers of a round (0: none)."""
        self._driver.load_state_dict(point.state)
        self._script.kept, self._script.memory, self._script.made = kept, point.memory, {}
        self._driver.step()
        memory = {**point.memory, **self._script.made}
        return Point(self._driver.state_dict(), memory, bits(self._driver.vectors))


@dataclass(frozen=True)
class Judged:
    """What is to be said of a committed round.

    Args:
        time: When it was committed.
        right: Whether its bits are those of the reference.
        replayed: Whether the round had been committed before.
    """

    time: float
    right: bool
    replayed: bool


def judged(ledger: Ledger, experiment: Experiment, dir: str) -> list[Judged]:
    """Every committed round of a run beside the reference's, in the order in which they were committed."""
    reference = Reference(experiment, dir)
    points = {0: reference.start}  # the newest of each version
    outcomes = []
    begun = ledger.rows("begun.jsonl")
    for row in ledger.rows("commits.jsonl"):
        before = points[row["version"] - 1]
        after = reference.after(before, {name: kept(begun, name, row, before) for name in row["agents"]})
        right = (row["before"], row["after"]) == (before.bits, after.bits)
        outcomes.append(Judged(row["time"], right, row["version"] in points))
        points[row["version"]] = after
    return outcomes


def kept(begun: Sequence[dict[str, Any]], agent: str, row: dict[str, Any], before: Point) -> int:
    """Of which round an agent remembered what it began a committed round with; its last one if it did not say."""
    said = [
        each["kept"]
        for each in begun
        if (each["agent"], each["round"]) == (agent, row["version"]) and each["time"] < row["time"]
    ]
    return said[-1] if said else max(before.memory.get(agent, {0: None}))
