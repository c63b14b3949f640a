"""A pool of hosts as the driver sees it, and the one that runs in this process."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any

from torch import Tensor

from raycollab.agent import Agent
from raycollab.aggregation import Partial, add_up, total_of
from raycollab.ledger import Notary
from raycollab.offer import Offer
from raycollab.runtime.host import Host
from raycollab.runtime.layout import Block, Layout
from raycollab.runtime.notarised import notarised
from raycollab.runtime.session import Session
from raycollab.runtime.sharing import ShareResult, Shares
from raycollab.runtime.wire import num_bytes, pack_nodes, pack_vectors, unpack
from raycollab.storage import Storage
from raycollab.types import AgentCard, AgentReport, Assignment, Failure, OwnScores, Round

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Collected:
    """What a round brought in: the total of all blocks in block order, and who failed.

    Args:
        total: The total.
        reports: Of those that are in it.
        failures: Of those that are not.
        bytes_up: What came from hosts.
        bytes_down: What went to hosts.
        loss: Mean training loss by weight, where only the total tells it.
        notes: What else is to be said of it.
    """

    total: Partial | None
    reports: tuple[AgentReport, ...]
    failures: tuple[Failure, ...]
    bytes_up: int
    bytes_down: int
    loss: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def train_loss(self) -> float:
        """Mean over the examples of all agents that tell their loss; nan if none does, as under DPSGD."""
        if self.loss is not None:
            return self.loss
        told = [report for report in self.reports if not isnan(report.loss)]
        examples = sum(report.examples for report in told)
        return sum(report.loss * report.examples for report in told) / max(examples, 1) if told else nan

    def plus(self, other: "Collected") -> "Collected":
        """Both together, this one first."""
        total = add_up(partial for partial in (self.total, other.total) if partial is not None)
        reports, failures = self.reports + other.reports, self.failures + other.failures
        up, down = self.bytes_up + other.bytes_up, self.bytes_down + other.bytes_down
        return replace(self, total=total, reports=reports, failures=failures, bytes_up=up, bytes_down=down)


def collect(results: Sequence[ShareResult], blocks: Sequence[Block], *, bytes_up: int, bytes_down: int) -> Collected:
    """Add up what came of the blocks of a round; reports and failures come in the order of its agents."""
    blocks = sorted(blocks, key=lambda block: block.index)
    agents = [assignment.agent for block in blocks for assignment in block.assignments]
    order = {agent: place for place, agent in enumerate(agents)}
    total = total_of((node for result in results for node in result.nodes), [block.index for block in blocks])
    reports = sorted((r for result in results for r in result.reports), key=lambda report: order[report.agent])
    failures = sorted((f for result in results for f in result.failures), key=lambda failure: order[failure.agent])
    return Collected(total, tuple(reports), tuple(failures), bytes_up, bytes_down)


def reported(results: Sequence[ShareResult]) -> int:
    """How many agents have delivered."""
    return sum(len(result.reports) for result in results)


def placed(session: Session, agents: Sequence[Agent], layout: Layout) -> list[Sequence[Agent]]:
    """The agents that each host knows: its own, or all of them where any host can read any agent's data."""
    if session.simulated:
        return [agents] * layout.num_hosts
    named = {agent.name: agent for agent in agents}
    return [[named[name] for name in layout.names_of(host)] for host in range(layout.num_hosts)]


def movable(session: Session, cards: Sequence[AgentCard | Failure]) -> bool:
    """Whether agents can be run anywhere: their data is there on all hosts, and none of them remembers anything."""
    return session.simulated and not any(isinstance(card, AgentCard) and card.remembers for card in cards)


class Pool(ABC):
    """Hosts that run agents. A pool never raises for an agent: failures are data.

    Attributes:
        notary: Checks what parties sign, set before agents are opened; None where nobody signs.
    """

    notary: Notary | None = None

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
    def ask(self, messages: Mapping[str, Any], round: Round) -> dict[str, Any]:
        """Bring agents of a round a message each: their answers, or a Failure of each that gave none."""

    @abstractmethod
    def validate(self, round: Round, last_rounds: Mapping[str, int]) -> Callable[[], dict[str, OwnScores | Failure]]:
        """Begin to score a round's vectors on each of these agents' own data; returns what waits until it is done."""

    def judge(self, candidates: Sequence[Mapping[str, Tensor]]) -> Sequence[float | Failure]:
        """The mean loss at each of several vectors, on the data that the rule validates on; a Failure where none comes.

        Empty where hosts are no faster than the driver itself.
        """
        del candidates
        return []

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
        layout: Which of them are summed together, and where; the number of hosts changes nothing.
        device: Where they compute.
    """

    def __init__(self, session: Session, agents: Sequence[Agent], layout: Layout, device: str = "cpu"):
        self._layout = layout
        self._session, self._device = session, device
        groups = placed(session, agents, layout)
        self._hosts = {place: Host(session, group, device) for place, group in enumerate(groups)}

    def open(self, offer: Offer) -> list[AgentCard | Failure]:
        """Open every host's agents."""
        opened = [host.open(offer, self._layout.names_of(place)) for place, host in self._hosts.items()]
        cards = [card for each in opened for card in each]
        self._layout = replace(self._layout, anywhere=movable(self._session, cards))
        return cards

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
        """Run share by share, until enough have answered."""
        sent, size = self._sent(round)
        blocks = self._layout.blocks_of(assignments)
        present = sorted(block.index for block in blocks)
        shares = Shares(blocks, lambda block: 0.0, single=enough is not None)
        results: list[ShareResult] = []
        bytes_up, used = 0, 0
        for home in shares.homes:
            if enough is not None and reported(results) >= enough:
                break
            used += 1
            while (enough is None or reported(results) < enough) and (share := shares.take(home, idle=False)):
                result = self._hosts[home].run(sent, share, present, stop)
                nodes = pack_nodes(result.nodes, codec, round) if (codec := self._session.upload) else result.nodes
                bytes_up += num_bytes(nodes)
                found = replace(result, nodes=unpack(nodes, codec) if codec else nodes)
                results.append(notarised(found, share, present, round, self.notary, as_sent=codec is None))
        return collect(results, blocks, bytes_up=bytes_up, bytes_down=size * used)

    def ask(self, messages: Mapping[str, Any], round: Round) -> dict[str, Any]:
        """Ask host by host."""
        del round
        answers: dict[str, Any] = {}
        for place, names in self._layout.by_host(list(messages)).items():
            answers |= self._hosts[place].answer({name: messages[name] for name in names})
        return answers

    def validate(self, round: Round, last_rounds: Mapping[str, int]) -> Callable[[], dict[str, OwnScores | Failure]]:
        """Score host by host, once it is waited for."""
        sent, _ = self._sent(round)

        def score() -> dict[str, OwnScores | Failure]:
            outcomes: dict[str, OwnScores | Failure] = {}
            for place, names in self._layout.by_host(list(last_rounds)).items():
                mine = {name: last_rounds[name] for name in names}
                outcomes.update(self._hosts[place].validate(sent.vectors, mine, round.index, round.form))
            return outcomes

        return score

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

    def _sent(self, round: Round) -> tuple[Round, int]:
        """The round as it looks on the other side of the wire, and its size; without a codec it goes as it is."""
        codec = self._session.broadcast
        vectors = pack_vectors(round, codec) if codec else round.vectors
        return replace(round, vectors=unpack(vectors, codec) if codec else vectors), num_bytes(vectors)
