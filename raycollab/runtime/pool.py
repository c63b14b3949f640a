"""A pool of hosts as the driver sees it, and the one that runs in this process."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from raycollab.agent import Agent, Offer
from raycollab.aggregation import Partial, add_up, total_of
from raycollab.codecs import Codec
from raycollab.errors import ConfigError
from raycollab.metrics import Statistics
from raycollab.runtime.host import Block, BlockResult, Host, Session
from raycollab.runtime.wire import num_bytes, pack, unpack
from raycollab.storage import Storage
from raycollab.types import AgentCard, AgentReport, Assignment, Failure, Round

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Layout:
    """Which block an agent is in, and which host runs a block. Blocks depend on the experiment alone.

    Args:
        names: The agents that the experiment begins with, in order.
        num_blocks: Blocks of neighbouring agents.
        num_hosts: Hosts; each runs whole blocks.
        slots: Numbers of the agents that joined later, from 0: each is a block, and has a host, of its own.
    """

    names: tuple[str, ...]
    num_blocks: int
    num_hosts: int
    slots: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.num_hosts > self.num_blocks:
            raise ConfigError(
                f"{self.num_hosts} hosts for num_blocks={self.num_blocks}: a block is never cut, so there can be no "
                f"more hosts than blocks; raise RunConfig.num_blocks or ScalingConfig.agents_per_host"
            )

    def blocks_of(self, assignments: Sequence[Assignment]) -> list[Block]:
        """The blocks that these assignments fall in, without empty ones."""
        wanted = {assignment.agent: assignment for assignment in assignments}
        blocks: dict[int, list[Assignment]] = {}
        for name, block in self._blocks():
            if name in wanted:
                blocks.setdefault(block, []).append(wanted[name])
        return [Block(index, tuple(members)) for index, members in sorted(blocks.items())]

    def _blocks(self) -> Iterator[tuple[str, int]]:
        """Every agent and its block, in order."""
        for index, name in enumerate(self.names):
            if name not in self.slots:
                yield name, index * self.num_blocks // len(self.names)
        for name, slot in sorted(self.slots.items(), key=lambda item: item[1]):
            yield name, self.num_blocks + slot

    def host_of_block(self, block: int) -> int:
        """The host that runs a block."""
        if block >= self.num_blocks:
            return self.num_hosts + block - self.num_blocks
        return block * self.num_hosts // self.num_blocks

    def with_agent(self, name: str, slot: int) -> "Layout":
        """With an agent that joins, also one that had left."""
        return replace(self, slots={**self.slots, name: slot})

    def host_of(self, index: int) -> int:
        """The host that an agent lives on, by the agent's place in `names`."""
        return self.host_of_block(index * self.num_blocks // len(self.names))

    def by_host(self, names: Sequence[str]) -> dict[int, list[str]]:
        """These agents by host."""
        wanted = set(names)
        hosts: dict[int, list[str]] = {}
        for name, block in self._blocks():
            if name in wanted:
                hosts.setdefault(self.host_of_block(block), []).append(name)
        return hosts

    def names_of(self, host: int) -> list[str]:
        """The agents of a host."""
        return [name for name, block in self._blocks() if self.host_of_block(block) == host]


@dataclass(frozen=True)
class Collected:
    """What a round brought in: the total of all blocks in block order, and who failed."""

    total: Partial | None
    reports: tuple[AgentReport, ...]
    failures: tuple[Failure, ...]
    bytes_up: int
    bytes_down: int

    @property
    def train_loss(self) -> float:
        """Mean over the examples of all agents."""
        examples = sum(report.examples for report in self.reports)
        return sum(report.loss * report.examples for report in self.reports) / max(examples, 1)

    def plus(self, other: "Collected") -> "Collected":
        """Both together, this one first."""
        total = add_up(partial for partial in (self.total, other.total) if partial is not None)
        reports, failures = self.reports + other.reports, self.failures + other.failures
        return Collected(total, reports, failures, self.bytes_up + other.bytes_up, self.bytes_down + other.bytes_down)


def collect(results: Sequence[BlockResult], bytes_up: int, bytes_down: int) -> Collected:
    """Add the blocks' partials in block order."""
    ordered = sorted(results, key=lambda result: result.index)
    total = total_of([result.partial for result in ordered if result.partial is not None])
    reports = tuple(report for result in ordered for report in result.reports)
    failures = tuple(failure for result in ordered for failure in result.failures)
    return Collected(total, reports, failures, bytes_up, bytes_down)


class Pool(ABC):
    """Hosts that run agents. A pool never raises for an agent: failures are data."""

    @abstractmethod
    def open(self, offer: Offer) -> list[AgentCard | Failure]:
        """Start the hosts and let every agent agree to the offer and open its shard."""

    @abstractmethod
    def add(self, agent: Agent, offer: Offer, slot: int) -> AgentCard | Failure:
        """Start one more host with an agent that joins; `slot` counts those that ever joined, from 0."""

    @abstractmethod
    def run(
        self, round: Round, assignments: Sequence[Assignment], *, enough: int | None = None, stop: Stop = lambda: False
    ) -> Collected:
        """Broadcast a round, run the agents and add up what they send.

        Args:
            round: What is broadcast.
            assignments: Who is to do what.
            enough: Updates after which the other agents are cut off; None waits for all that are in time.
            stop: Asked all the time; once it says so, agents are told to stop.
        """

    @abstractmethod
    def validate(self, round: Round, last_rounds: Mapping[str, int]) -> dict[str, Statistics | Failure]:
        """Score a round's vectors on each of these agents' own validation split."""

    @abstractmethod
    def save(self, storage: Storage, last_rounds: Mapping[str, int]) -> Callable[[], list[Failure]]:
        """Let agents take hold of what they remember of their last committed round, and store it on their side.

        Returns: What waits until they have, also in another thread and while the next round runs; who did not is
            returned then. It raises RunFolderError if a host cannot write.
        """

    @abstractmethod
    def restore(self, storage: Storage, names: Sequence[str]) -> None:
        """Let agents load what they stored."""

    def saved_at(self, storage: Storage) -> None:  # noqa: B027 - a pool that never restarts agents need not know
        """Hear where the newest durable state of agents is; agents that start again are restored from there."""

    @abstractmethod
    def close(self) -> None:
        """Free the hosts."""


class LocalPool(Pool):
    """Hosts in this process, one after another: for debugging, small runs and tests.

    Args:
        session: What is common to the run.
        agents: All agents.
        num_blocks: Blocks of the experiment.
        num_hosts: Hosts; their number changes nothing.
        device: Where they compute.
    """

    def __init__(
        self,
        session: Session,
        agents: Sequence[Agent],
        *,
        num_blocks: int,
        num_hosts: int = 1,
        device: str = "cpu",
    ):
        self._layout = Layout(tuple(agent.name for agent in agents), num_blocks, num_hosts)
        self._broadcast, self._upload = session.broadcast, session.upload
        groups: list[list[Agent]] = [[] for _ in range(num_hosts)]
        for index, agent in enumerate(agents):
            groups[self._layout.host_of(index)].append(agent)
        self._hosts = {place: Host(session, group, device) for place, group in enumerate(groups)}
        self._session, self._device = session, device

    def open(self, offer: Offer) -> list[AgentCard | Failure]:
        """Open every host's agents."""
        return [outcome for host in self._hosts.values() for outcome in host.open(offer)]

    def add(self, agent: Agent, offer: Offer, slot: int) -> AgentCard | Failure:
        """Open one more host; it counts only if the agent could be opened."""
        host = Host(self._session, [agent], self._device)
        (outcome,) = host.open(offer)
        if isinstance(outcome, AgentCard):
            self._layout = self._layout.with_agent(agent.name, slot)
            self._hosts[self._layout.num_hosts + slot] = host
        return outcome

    def run(
        self, round: Round, assignments: Sequence[Assignment], *, enough: int | None = None, stop: Stop = lambda: False
    ) -> Collected:
        """Run block by block, until enough have answered."""
        sent = self._crossed(round, self._broadcast, seed=round.seed_for("down", round.base_version))
        results, bytes_up, used = [], 0, set()
        for block in self._layout.blocks_of(assignments):
            place = self._layout.host_of_block(block.index)
            used.add(place)
            result = self._hosts[place].run(sent[0], block, stop)
            seed = round.seed_for("up", round.base_version, block.index)
            crossed = self._crossed(result, self._upload, seed=seed)
            bytes_up += crossed[1]
            results.append(crossed[0])
            if enough is not None and sum(len(each.reports) for each in results) >= enough:
                break
        return collect(results, bytes_up, sent[1] * len(used))

    def validate(self, round: Round, last_rounds: Mapping[str, int]) -> dict[str, Statistics | Failure]:
        """Score host by host."""
        sent, _ = self._crossed(round, self._broadcast, seed=round.seed_for("down", round.base_version))
        outcomes: dict[str, Statistics | Failure] = {}
        for place, names in self._layout.by_host(list(last_rounds)).items():
            outcomes.update(self._hosts[place].validate(sent.vectors, {name: last_rounds[name] for name in names}))
        return outcomes

    def save(self, storage: Storage, last_rounds: Mapping[str, int]) -> Callable[[], list[Failure]]:
        """Save host by host."""
        failures = [failure for host in self._hosts.values() for failure in host.hold(last_rounds)]

        def write() -> list[Failure]:
            for host in self._hosts.values():
                host.write(storage)
            return failures

        return write

    def restore(self, storage: Storage, names: Sequence[str]) -> None:
        """Restore host by host."""
        for host in self._hosts.values():
            host.restore(storage, names)

    def close(self) -> None:
        """Nothing to free."""

    def _crossed(self, value: Any, codec: Codec | None, *, seed: int) -> tuple[Any, int]:
        """A value as it looks on the other side of the wire, and its size; without a codec it goes as it is."""
        packed = pack(value, codec, seed=seed)
        return (value if codec is None else unpack(packed, codec)), num_bytes(packed)
