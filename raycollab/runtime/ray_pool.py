"""Hosts as Ray actors. Every wait has a timeout; a dead or late actor costs its agents one round."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.actor import ActorHandle

from raycollab.agent import Agent, Offer
from raycollab.config import FailureConfig
from raycollab.errors import ResourceError, RunFolderError
from raycollab.metrics import Statistics
from raycollab.runtime.host import Block, BlockResult
from raycollab.runtime.inspection import inspected
from raycollab.runtime.placement import available
from raycollab.runtime.pool import Collected, Pool, Stop, collect
from raycollab.runtime.ray_hosts import Gone, HostSpecs, RayHosts, ask
from raycollab.runtime.wire import num_bytes, pack, unpack
from raycollab.storage import Storage
from raycollab.types import AgentCard, Assignment, Failure, Round


class RayPool(Pool):
    """Hosts in actors of their own.

    Args:
        specs: How to start them.
        handles: The actors, already starting.
        policy: How long to wait, and what to do about actors that die.
    """

    def __init__(self, specs: HostSpecs, handles: Sequence[ActorHandle], policy: FailureConfig):
        self.hosts = RayHosts(specs, handles, policy)
        self._layout = specs.layout
        session = ray.get(specs.session)
        self._broadcast, self._upload = session.broadcast, session.upload
        self._policy = policy

    def open(self, offer: Offer) -> list[AgentCard | Failure]:
        """Open all hosts side by side; an actor that has not started in time is a ResourceError of its agents.

        An actor that is gone, as after the death of an earlier driver, is replaced first.
        """
        self.hosts.offer = offer
        handles = self.hosts.handles
        answers = ask({host: handles[host].open.remote(offer) for host in handles}, self._policy.start_timeout_s)
        gone = [host for host, answer in answers.items() if isinstance(answer, Gone)]
        again = {host: self.hosts.restart(host).open.remote(offer) for host in gone}
        answers |= ask(again, self._policy.start_timeout_s)
        outcomes: list[AgentCard | Failure] = []
        for host, answer in answers.items():
            if isinstance(answer, Failure):
                outcomes += [self._not_started(name, answer) for name in self._layout.names_of(host)]
            else:
                outcomes += answer
        return outcomes

    def add(self, agent: Agent, offer: Offer, slot: int) -> AgentCard | Failure:
        """Start one more actor; it stays only if the agent could be opened."""
        host = self._layout.num_hosts + slot
        opening = self.hosts.add(host, agent).open.remote(offer)
        answer = ask({host: opening}, self._policy.start_timeout_s)[host]
        outcome = self._not_started(agent.name, answer) if isinstance(answer, Failure) else answer[0]
        if isinstance(outcome, Failure):
            self.hosts.remove(host)
        else:
            self._layout = self._layout.with_agent(agent.name, slot)
            self.hosts.names_of = self._layout.names_of
        return outcome

    def _not_started(self, agent: str, failure: Failure) -> Failure:
        if failure.error != "Timeout":
            return Failure(agent, failure.error, failure.message)
        place = self.hosts.specs.placement
        message = (
            f"its actor did not start within start_timeout_s={self._policy.start_timeout_s:g}; it asks for "
            f"{place.cpus_per_host:g} CPU and {place.gpus_per_host:g} GPU, available now: {available()}"
        )
        return Failure(agent, ResourceError.__name__, message)

    def run(
        self, round: Round, assignments: Sequence[Assignment], *, enough: int | None = None, stop: Stop = lambda: False
    ) -> Collected:
        """Run blocks on their hosts; collect until the deadline."""
        blocks = self._layout.blocks_of(assignments)
        hosts = {block.index: self._layout.host_of_block(block.index) for block in blocks}
        self.hosts.revive(hosts.values())
        sent, size = self._sent(round)
        refs: dict[int, Any] = {}
        for block in blocks:
            if self.hosts.is_up(hosts[block.index]):
                seed = round.seed_for("up", round.base_version, block.index)
                refs[block.index] = self.hosts.handles[hosts[block.index]].run.remote(sent, block, seed)
        answers = ask(
            refs,
            self._policy.round_timeout_s,
            until=lambda answers: stop() or (enough is not None and _reported(answers) >= enough),
            each=enough is not None,
        )
        surplus = enough is not None and _reported(answers) >= enough
        decisions = self._decided(answers, refs, hosts, (round.index, round.attempt), surplus)
        results: list[BlockResult] = []
        for block in blocks:
            host = hosts[block.index]
            answer = answers.get(block.index) or self.hosts.absence(host)
            if not isinstance(answer, Failure):
                spec = self.hosts.offer.spec  # type: ignore[union-attr]
                results.append(inspected(unpack(answer, self._upload), block, round, spec))
            elif not (surplus and answer.error == "Timeout"):
                results.append(_lost(block, answer, answer.decision or decisions.get(host, "")))
        bytes_up = sum(num_bytes(answer) for answer in answers.values() if not isinstance(answer, Failure))
        return collect(results, bytes_up, size * len(set(map(hosts.get, refs))))

    def _decided(
        self,
        answers: Mapping[int, Any],
        refs: Mapping[int, Any],
        hosts: Mapping[int, int],
        round: tuple[int, int],
        surplus: bool,
    ) -> dict[int, str]:
        """What is done about each host that did not answer for all of its blocks."""
        decisions: dict[int, str] = {}
        for host in {hosts[index] for index in answers}:
            lost = {index: answer for index, answer in answers.items() if hosts[index] == host and _failed(answer)}
            if not lost:
                self.hosts.answered(host)
            elif surplus and all(answer.error == "Timeout" for answer in lost.values()):
                self.hosts.handles[host].stop.remote(*round)
            else:
                worst = max(lost.values(), key=lambda answer: isinstance(answer, Gone))
                decisions[host] = self.hosts.failed(host, worst, [refs[index] for index in lost], round)
        return decisions

    def validate(self, round: Round, last_rounds: Mapping[str, int]) -> dict[str, Statistics | Failure]:
        """Score on all hosts side by side."""
        sent, _ = self._sent(round)
        groups = self._layout.by_host(list(last_rounds))
        refs = {
            host: self.hosts.handles[host].validate.remote(sent, {n: last_rounds[n] for n in names})
            for host, names in groups.items()
            if self.hosts.is_up(host)
        }
        answers = ask(refs, self._policy.round_timeout_s)
        outcomes: dict[str, Statistics | Failure] = {}
        for host, names in groups.items():
            answer = answers.get(host) or self.hosts.absence(host)
            if isinstance(answer, Failure):
                if host in refs:
                    self.hosts.failed(host, answer, [refs[host]], (round.index, round.attempt))
                outcomes |= {name: Failure(name, answer.error, answer.message) for name in names}
            else:
                outcomes |= {name: answer[name] for name in names}
        return outcomes

    def save(self, storage: Storage, last_rounds: Mapping[str, int]) -> Callable[[], list[Failure]]:
        """Save on the agents' side, all hosts side by side; a dead one is replaced first and saves what it restored."""
        groups = self._layout.by_host(list(last_rounds))
        self.hosts.revive(groups)
        refs: dict[int, Any] = {}
        for host, names in groups.items():
            if self.hosts.is_up(host):
                handle = self.hosts.handles[host]
                held = handle.hold.remote({name: last_rounds[name] for name in names})
                refs[host] = handle.write.remote(storage, held)

        absent = {host: self.hosts.absence(host) for host in groups if host not in refs}

        def wait() -> list[Failure]:
            answers = {**absent, **ask(refs, self._policy.round_timeout_s)}
            failures: list[Failure] = []
            for host, answer in answers.items():
                if not isinstance(answer, Failure):
                    failures += answer
                elif host in absent or isinstance(answer, Gone) or answer.error == "Timeout":
                    failures += [Failure(name, answer.error, answer.message) for name in groups[host]]
                else:
                    raise RunFolderError(answer.message)
            return failures

        return wait

    def restore(self, storage: Storage, names: Sequence[str]) -> None:
        """Restore on the agents' side, all hosts side by side.

        Raises: RunFolderError if a host cannot read.
        """
        groups = self._layout.by_host(names)
        refs = {host: self.hosts.handles[host].restore.remote(storage, group) for host, group in groups.items()}
        for host, answer in ask(refs, self._policy.start_timeout_s).items():
            if isinstance(answer, Failure):
                raise RunFolderError(f"{', '.join(groups[host])}: {answer.message}")

    def saved_at(self, storage: Storage) -> None:
        """Restore the agents of a revived actor from here."""
        self.hosts.saved = storage

    def close(self) -> None:
        """End all actors."""
        self.hosts.close()

    def _sent(self, round: Round) -> tuple[Any, int]:
        """A reference to the packed round, and its size."""
        packed = pack(round, self._broadcast, seed=round.seed_for("down", round.base_version))
        return ray.put(packed), num_bytes(packed)


def _failed(answer: Any) -> bool:
    return isinstance(answer, Failure)


def _reported(answers: Mapping[int, Any]) -> int:
    """How many agents have answered."""
    return sum(len(getattr(answer, "reports", ())) for answer in answers.values())


def _lost(block: Block, failure: Failure, decision: str) -> BlockResult:
    """The result of a block whose host did not answer."""
    failures = tuple(Failure(a.agent, failure.error, failure.message, decision) for a in block.assignments)
    return BlockResult(block.index, None, (), failures)
