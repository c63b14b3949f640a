"""Hosts as Ray actors. Every wait has a timeout; a dead or late actor costs its agents one round."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnschedulableError, NodeDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError

from raycollab.agent import Agent, Offer
from raycollab.errors import ResourceError, RunFolderError
from raycollab.metrics import Statistics
from raycollab.runtime.actors import HostActor
from raycollab.runtime.host import BlockResult, Session
from raycollab.runtime.placement import Placement, available
from raycollab.runtime.pool import Collected, Layout, Pool, collect
from raycollab.runtime.wire import num_bytes, pack, unpack
from raycollab.storage import Storage
from raycollab.types import AgentCard, Assignment, Failure, Round

_GONE = (RayActorError, ActorUnschedulableError, NodeDiedError, OutOfMemoryError, WorkerCrashedError)


class _Gone(Failure):
    """The host's process is gone: it is started again before its agents are asked again."""


_NOT_BACK = _Gone("", "ActorUnavailableError", "its actor died, and the one that replaces it is still starting")


@dataclass(frozen=True)
class HostSpecs:
    """How to start the actors, and start a dead one again: references only, so that it travels cheaply."""

    layout: Layout
    placement: Placement
    session: Any  # reference to a Session
    agents: tuple[Any, ...]  # a reference to each host's agents

    @classmethod
    def put(cls, layout: Layout, placement: Placement, session: Session, agents: Sequence[Agent]) -> "HostSpecs":
        """Put what the hosts need into the object store, each host's agents apart."""
        groups: list[list[Agent]] = [[] for _ in range(layout.num_hosts)]
        for index, agent in enumerate(agents):
            groups[layout.host_of(index)].append(agent)
        return cls(layout, placement, ray.put(session), tuple(ray.put(group) for group in groups))

    def start(self, host: int) -> ActorHandle:
        """Start one actor; returns at once."""
        place = self.placement
        reserve = {"num_cpus": place.cpus_per_host, "num_gpus": place.gpus_per_host}
        actor = ray.remote(concurrency_groups={"control": 1}, max_restarts=0, **reserve)(HostActor)
        return actor.remote([self.session, self.agents[host]], place.gpus_per_host)


class RayPool(Pool):
    """Hosts in actors of their own.

    Args:
        specs: How to start them.
        handles: The actors, already starting.
        start_timeout_s: For actors to start and shards to open.
        round_timeout_s: For a round, after which late agents are left out.
    """

    def __init__(
        self, specs: HostSpecs, handles: Sequence[ActorHandle], *, start_timeout_s: float, round_timeout_s: float
    ):
        self._specs = specs
        self._layout = specs.layout
        session = ray.get(specs.session)
        self._broadcast, self._upload = session.broadcast, session.upload
        self._handles = list(handles)
        self._start_timeout_s = start_timeout_s
        self._round_timeout_s = round_timeout_s
        self._dead: set[int] = set()
        self._starting: dict[int, Any] = {}  # of dead hosts, references to the answer of their replacement
        self._offer: Offer | None = None
        self._saved: Storage | None = None

    def open(self, offer: Offer) -> list[AgentCard | Failure]:
        """Open all hosts side by side; an actor that has not started in time is a ResourceError of its agents."""
        self._offer = offer
        refs = {host: handle.open.remote(offer) for host, handle in enumerate(self._handles)}
        outcomes: list[AgentCard | Failure] = []
        for host, answer in self._ask(refs, self._start_timeout_s).items():
            if isinstance(answer, Failure):
                outcomes += [self._not_started(name, answer) for name in self._names_of(host)]
            else:
                outcomes += answer
        return outcomes

    def _not_started(self, agent: str, failure: Failure) -> Failure:
        if failure.error != "Timeout":
            return Failure(agent, failure.error, failure.message)
        place = self._specs.placement
        message = (
            f"its actor did not start within start_timeout_s={self._start_timeout_s:g}; it asks for "
            f"{place.cpus_per_host:g} CPU and {place.gpus_per_host:g} GPU, available now: {available()}"
        )
        return Failure(agent, ResourceError.__name__, message)

    def run(self, round: Round, assignments: Sequence[Assignment]) -> Collected:
        """Run blocks on their hosts; collect until the deadline."""
        blocks = self._layout.blocks_of(assignments)
        hosts = {block.index: self._layout.host_of_block(block.index) for block in blocks}
        self._revive(hosts.values())
        sent, size = self._sent(round)
        refs: dict[int, Any] = {}
        for block in blocks:
            if hosts[block.index] not in self._dead:
                seed = round.seed_for("up", round.base_version, block.index)
                refs[block.index] = self._handles[hosts[block.index]].run.remote(sent, block, seed)
        answers = self._ask(refs, self._round_timeout_s)
        results: list[BlockResult] = []
        bytes_up = 0
        for block in blocks:
            answer = answers.get(block.index, _NOT_BACK)
            if isinstance(answer, Failure):
                failures = tuple(Failure(a.agent, answer.error, answer.message) for a in block.assignments)
                results.append(BlockResult(block.index, None, (), failures))
                self._note(hosts[block.index], answer, round)
            else:
                bytes_up += num_bytes(answer)
                results.append(unpack(answer, self._upload))
        return collect(results, bytes_up, size * len(set(map(hosts.get, refs))))

    def validate(self, round: Round, last_rounds: Mapping[str, int]) -> dict[str, Statistics | Failure]:
        """Score on all hosts side by side."""
        sent, _ = self._sent(round)
        groups = {
            host: names for host, names in self._layout.by_host(list(last_rounds)).items() if host not in self._dead
        }
        refs = {
            host: self._handles[host].validate.remote(sent, {n: last_rounds[n] for n in names})
            for host, names in groups.items()
        }
        absent = set(last_rounds) - {name for names in groups.values() for name in names}
        outcomes: dict[str, Statistics | Failure] = {
            name: Failure(name, _NOT_BACK.error, _NOT_BACK.message) for name in absent
        }
        for host, answer in self._ask(refs, self._round_timeout_s).items():
            if isinstance(answer, Failure):
                self._note(host, answer, round)
                outcomes.update({name: Failure(name, answer.error, answer.message) for name in groups[host]})
            else:
                outcomes.update(answer)
        return outcomes

    def save(self, storage: Storage, last_rounds: Mapping[str, int]) -> list[Failure]:
        """Save on the agents' side, all hosts side by side; a dead one is replaced first and saves what it restored.

        Raises: RunFolderError if a host cannot write.
        """
        groups = self._layout.by_host(list(last_rounds))
        self._revive(groups)
        refs = {
            host: self._handles[host].save.remote(storage, {name: last_rounds[name] for name in names})
            for host, names in groups.items()
            if host not in self._dead
        }
        answers = self._ask(refs, self._round_timeout_s)
        failures: list[Failure] = []
        for host, names in groups.items():
            answer = answers.get(host, _NOT_BACK)
            if not isinstance(answer, Failure):
                failures += answer
                continue
            if not isinstance(answer, _Gone) and answer.error != "Timeout":
                raise RunFolderError(answer.message)
            self._dead |= {host} if isinstance(answer, _Gone) else set()
            failures += [Failure(name, answer.error, answer.message) for name in names]
        return failures

    def restore(self, storage: Storage, names: Sequence[str]) -> None:
        """Restore on the agents' side, all hosts side by side.

        Raises: RunFolderError if a host cannot read.
        """
        refs = {
            host: self._handles[host].restore.remote(storage, group)
            for host, group in self._layout.by_host(names).items()
        }
        for host, answer in self._ask(refs, self._start_timeout_s).items():
            if isinstance(answer, Failure):
                raise RunFolderError(f"{', '.join(self._names_of(host))}: {answer.message}")

    def saved_at(self, storage: Storage) -> None:
        """Restore the agents of a revived actor from here."""
        self._saved = storage

    def close(self) -> None:
        """End all actors."""
        for handle in self._handles:
            ray.kill(handle)

    def _sent(self, round: Round) -> tuple[Any, int]:
        """A reference to the packed round, and its size."""
        packed = pack(round, self._broadcast, seed=round.seed_for("down", round.base_version))
        return ray.put(packed), num_bytes(packed)

    def _ask(self, refs: dict[int, Any], timeout_s: float) -> dict[int, Any]:
        """Answers by key; one that fails or is late becomes a Failure without an agent."""
        if not refs:
            return {}
        places = {ref: key for key, ref in refs.items()}
        done, _ = ray.wait(list(places), num_returns=len(places), timeout=timeout_s)
        answers: dict[int, Any] = {key: Failure("", "Timeout", f"no answer within {timeout_s:.0f} s") for key in refs}
        for ref in done:
            try:
                answers[places[ref]] = ray.get(ref, timeout=timeout_s)
            except Exception as error:  # the actor's death or any error of its own: data for the failure policy
                answers[places[ref]] = _failure(error)
        return answers

    def _note(self, host: int, failure: Failure, round: Round) -> None:
        """Tell a late host to stop; remember a dead one."""
        if failure.error == "Timeout":
            self._handles[host].stop.remote(round.index, round.attempt)
        elif isinstance(failure, _Gone):
            self._dead.add(host)

    def _revive(self, hosts: Iterable[int]) -> None:
        """Start those of these hosts that are dead again, side by side, with what their agents last stored.

        The first try may take start_timeout_s. A replacement that is not there by then goes on starting while rounds go
        on without its agents, and takes its place in the first round that finds it ready.
        """
        waiting = set(hosts) & self._starting.keys()
        started = (set(hosts) & self._dead) - waiting
        for host in started:
            ray.kill(self._handles[host])
            self._handles[host] = self._specs.start(host)
            self._starting[host] = self._handles[host].open.remote(self._offer)
        answers = self._ask({host: self._starting[host] for host in waiting}, 0.0)
        answers |= self._ask({host: self._starting[host] for host in started}, self._start_timeout_s)
        ready = {host for host, answer in answers.items() if not isinstance(answer, Failure)}
        restored: dict[int, Any] = {}
        if self._saved is not None:
            restoring = {host: self._handles[host].restore.remote(self._saved, self._names_of(host)) for host in ready}
            restored = self._ask(restoring, self._start_timeout_s)
        for host, answer in answers.items():
            if not (isinstance(answer, Failure) and answer.error == "Timeout"):
                del self._starting[host]
            if host in ready and not isinstance(restored.get(host), Failure):
                self._dead.discard(host)

    def _names_of(self, host: int) -> list[str]:
        return self._layout.by_host(self._layout.names).get(host, [])


def _failure(error: Exception) -> Failure:
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() or [""]
    kind = _Gone if isinstance(error, _GONE) else Failure
    return kind("", type(cause).__name__, lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1].strip()}")
