"""The actors of a run: how they start, how they are asked, and how a dead one is replaced."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)

from raycollab.agent import Agent
from raycollab.config import FailureConfig
from raycollab.errors import ResourceError
from raycollab.offer import Offer
from raycollab.runtime.actors import HostActor
from raycollab.runtime.layout import Layout
from raycollab.runtime.placement import Placement, available
from raycollab.runtime.pool import placed
from raycollab.runtime.session import Session
from raycollab.storage import Storage
from raycollab.types import Failure

_GONE = (
    RayActorError,
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,  # of an answer, with the node that had it
    OutOfMemoryError,
    WorkerCrashedError,
)
_LONGEST_BACKOFF_S = 60.0
SLICE_S = 0.5  # after which somebody who waits looks up


class Gone(Failure):
    """The host's process is gone: it is started again before its agents are asked again."""


@dataclass(frozen=True)
class HostSpecs:
    """How to start the actors, and start a dead one again: references only, so that it travels cheaply."""

    layout: Layout
    placement: Placement
    session: Any  # reference to a Session
    agents: tuple[Any, ...]  # a reference to the agents that each host knows

    @classmethod
    def put(cls, layout: Layout, placement: Placement, session: Session, agents: Sequence[Agent]) -> "HostSpecs":
        """Put what the hosts need into the object store."""
        groups = placed(session, agents, layout)
        known = {id(group): ray.put(group) for group in {id(group): group for group in groups}.values()}  # each once
        return cls(layout, placement, ray.put(session), tuple(known[id(group)] for group in groups))

    def start(self, host: int) -> ActorHandle:
        """Start one of the first actors; returns at once."""
        return self.start_with(self.agents[host], self.layout.names_of(host), host)

    def start_with(self, agents: Any, names: Sequence[str], host: int | None = None) -> ActorHandle:
        """Start an actor with the agents behind a reference, in a host's place or apart from all; returns at once."""
        options = self.placement.options(host, names[0])
        groups = {"control": 1, "storage": 1, "sending": 1}
        actor = ray.remote(concurrency_groups=groups, max_restarts=0, **options)(HostActor)
        return actor.remote([self.session, agents], self.placement.gpus_per_host, list(names))


@dataclass
class _Down:
    """A host without a process, or with one that is still starting."""

    not_before: float  # when the next replacement may start
    answer: Any = None  # reference to that of the replacement


class RayHosts:
    """Actors by the number of their host. None is waited for without a limit.

    A dead one is replaced when its agents are next needed: at once the first time, after a growing pause if its
    replacements die as well, and no more after `max_restarts` of them in a row.

    Args:
        specs: How to start them.
        handles: The first ones, already starting.
        policy: How long to wait, and how often to try.
    """

    def __init__(self, specs: HostSpecs, handles: Sequence[ActorHandle], policy: FailureConfig):
        self.specs = specs
        self.handles: dict[int, ActorHandle] = dict(enumerate(handles))
        self.saved: Storage | None = None  # where agents of a replaced actor find what they stored
        self.offer: Offer | None = None
        self.names_of = specs.layout.names_of
        self._agents: dict[int, Any] = dict(enumerate(specs.agents))
        self._joined: dict[int, str] = {}  # agents that have a host of their own since the run began
        self._policy = policy
        self._down: dict[int, _Down] = {}
        self._replaced: dict[int, int] = {}  # replacements in a row, without an answer in between
        self._late: dict[int, list[Any]] = {}  # references to answers that did not come in time

    def add(self, host: int, agent: Agent) -> ActorHandle:
        """Start one more, for an agent that joins."""
        self._agents[host], self._joined[host] = ray.put([agent]), agent.name
        self.handles[host] = self._start(host)
        return self.handles[host]

    def _start(self, host: int) -> ActorHandle:
        joined = self._joined.get(host)
        return self.specs.start(host) if joined is None else self.specs.start_with(self._agents[host], [joined])

    def opening(self, host: int, handle: ActorHandle) -> Any:
        """A reference to the cards of a host's agents, as an actor opens them."""
        return handle.open.remote(self.offer, self.names_of(host))

    def remove(self, host: int) -> None:
        """End one whose agent could not join."""
        ray.kill(self.handles.pop(host))

    def restart(self, host: int) -> ActorHandle:
        """Start an actor in the place of a dead one."""
        ray.kill(self.handles[host])
        self.handles[host] = self._start(host)
        return self.handles[host]

    def not_started(self, agent: str, failure: Failure) -> Failure:
        """Why an agent is not there whose actor gave no answer."""
        if failure.error != "Timeout":
            return Failure(agent, failure.error, failure.message)
        place = self.specs.placement
        message = (
            f"its actor did not start within start_timeout_s={self._policy.start_timeout_s:g}; it asks for "
            f"{place.cpus_per_host:g} CPU and {place.gpus_per_host:g} GPU, available now: {available()}"
        )
        return Failure(agent, ResourceError.__name__, message)

    def is_up(self, host: int) -> bool:
        """Whether its agents can be asked."""
        return host not in self._down

    def answered(self, host: int) -> None:
        """It did its work: whatever was wrong with it is over."""
        self._replaced.pop(host, None)
        self._late.pop(host, None)

    def failed(self, host: int, failure: Failure, refs: Sequence[Any], round: tuple[int, int, int]) -> str:
        """Decide what is done about a host that did not do its work.

        Args:
            host: Which.
            failure: What was said instead of an answer.
            refs: What it still owes.
            round: Index, attempt and version that it is told to leave.
        """
        if isinstance(failure, Gone):
            return self._fell(host)
        if failure.error != "Timeout":
            return ""
        owed = self._late.pop(host, [])
        if owed and len(ray.wait(owed, num_returns=len(owed), timeout=0)[0]) < len(owed):
            return f"late again without having come back: taken to hang; {self._fell(host)}"
        self._late[host] = list(refs)
        self.handles[host].stop.remote(*round)
        return "told to stop; asked again in the next round"

    def _fell(self, host: int) -> str:
        times = self._replaced.get(host, 0)
        pause_s = min(self._policy.restart_backoff_s * 2 ** (times - 1), _LONGEST_BACKOFF_S) if times else 0.0
        self._down[host] = _Down(time.monotonic() + pause_s)
        self._late.pop(host, None)
        if times >= self._policy.max_restarts:
            return f"given up after {times} replacements in a row"
        return f"its actor is replaced after {pause_s:.0f} s" if pause_s else "its actor is replaced"

    def absence(self, host: int) -> Failure:
        """Why a host that is not up cannot be asked."""
        times, down = self._replaced.get(host, 0), self._down.get(host)
        if times >= self._policy.max_restarts and down and down.answer is None:
            why = f"its actor died, as did {times} replacements in a row: max_restarts={self._policy.max_restarts}"
            return Failure("", "ActorUnavailableError", why, "given up")
        why = "its actor died, and the one that replaces it is still starting"
        return Failure("", "ActorUnavailableError", why, "left out until it is there")

    def revive(self, hosts: Iterable[int]) -> None:
        """Start those of these hosts that are dead again, side by side, with what their agents last stored.

        The first try may take start_timeout_s. A replacement that is not there by then goes on starting while rounds go
        on without its agents, and takes its place in the first round that finds it ready.
        """
        now = time.monotonic()
        down = {host: self._down[host] for host in set(hosts) & self._down.keys()}
        waiting = {host: record.answer for host, record in down.items() if record.answer is not None}
        due = [host for host, record in down.items() if record.answer is None and record.not_before <= now]
        for host in due:
            if self._replaced.get(host, 0) < self._policy.max_restarts:
                self._replaced[host] = self._replaced.get(host, 0) + 1
                down[host].answer = self.opening(host, self.restart(host))
        started = {host: down[host].answer for host in due if down[host].answer is not None}
        answers = ask(waiting, 0.0) | ask(started, self._policy.start_timeout_s)
        ready = {host for host, answer in answers.items() if not isinstance(answer, Failure)}
        restored = self._restored(ready)
        for host, answer in answers.items():
            if host in ready and not isinstance(restored.get(host), Failure):
                del self._down[host]
            elif not (isinstance(answer, Failure) and answer.error == "Timeout"):
                self._fell(host)

    def _restored(self, hosts: Iterable[int]) -> dict[int, Any]:
        if self.saved is None:
            return {}
        refs = {host: self.handles[host].restore.remote(self.saved, self.names_of(host)) for host in hosts}
        return ask(refs, self._policy.start_timeout_s)

    def judged(self, candidates: Sequence[Any], timeout_s: float) -> list[float | Failure]:
        """What hosts that are up make of packed vectors, dealt out in turn; a Failure where no number comes back."""
        up = [host for host in self.handles if self.is_up(host)]
        if not up:
            return [Gone("", "ActorDiedError", "no host is up") for _ in candidates]
        refs = {
            place: self.handles[up[place % len(up)]].judge.remote(candidate)
            for place, candidate in enumerate(candidates)
        }
        answers = ask(refs, timeout_s)
        strange = Failure("", "TypeError", "a host's loss is no number")
        found = [answers[place] for place in range(len(candidates))]
        return [answer if isinstance(answer, float | Failure) else strange for answer in found]

    def close(self) -> None:
        """End all actors."""
        for handle in self.handles.values():
            ray.kill(handle)


def ask(refs: Mapping[int, Any], timeout_s: float) -> dict[int, Any]:
    """Answers by key; one that fails or is late becomes a Failure without an agent."""
    places, answers = {ref: key for key, ref in refs.items()}, dict[int, Any]()
    if places:
        done, _ = ray.wait(list(places), num_returns=len(places), timeout=timeout_s)
        answers = {places.pop(ref): answer_of(ref, timeout_s) for ref in done}
    return answers | {key: late(timeout_s) for key in places.values()}


def late(timeout_s: float) -> Failure:
    """The failure of whoever did not answer in time."""
    return Failure("", "Timeout", f"no answer within {timeout_s:.0f} s")


def answer_of(ref: Any, timeout_s: float) -> Any:
    """The answer behind a reference, or a Failure without an agent."""
    try:
        return ray.get(ref, timeout=timeout_s)
    except Exception as error:  # the actor's death or any error of its own: data for the failure policy
        cause = getattr(error, "cause", None) or error
        lines = str(cause).strip().splitlines() or [""]
        kind = Gone if isinstance(error, _GONE) else Failure
        return kind("", type(cause).__name__, lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1].strip()}")
