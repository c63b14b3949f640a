"""Hosts as Ray actors. Every wait has a timeout; a dead or late actor costs its agents one round."""

import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ray
from ray.actor import ActorHandle
from torch import Tensor

from raycollab.agent import Agent
from raycollab.config import FailureConfig
from raycollab.errors import RunFolderError
from raycollab.offer import Offer
from raycollab.runtime.inspection import inspected
from raycollab.runtime.layout import Block, Layout
from raycollab.runtime.notarised import notarised
from raycollab.runtime.pool import Collected, Pool, Stop, collect, movable
from raycollab.runtime.ray_hosts import Gone, HostSpecs, RayHosts, ask
from raycollab.runtime.ray_work import Work
from raycollab.runtime.sharing import Share, ShareResult, Shares, lost_share
from raycollab.runtime.slice_actors import Slices
from raycollab.runtime.wire import num_bytes, pack, pack_vectors, unpack
from raycollab.storage import Storage
from raycollab.types import AgentCard, Assignment, Failure, OwnScores, Round

_BYTES_A_SECOND = 1e9  # of a sum, about: written into the store, read, looked at and added
_MANY = 256  # blocks of a round from which it is put into the store once, and not sent with every share


class RayPool(Pool):
    """Hosts in actors of their own.

    Args:
        specs: How to start them.
        handles: The actors, already starting.
        policy: How long to wait, and what to do about actors that die.

    Attributes:
        sends_apart: Whether hosts send a share's sums while they work on the next: they do where they have GPUs.
    """

    def __init__(self, specs: HostSpecs, handles: Sequence[ActorHandle], policy: FailureConfig):
        self.hosts = RayHosts(specs, handles, policy)
        self._layout = specs.layout
        self._session = ray.get(specs.session)
        self._policy = policy
        self.sends_apart = specs.placement.gpus_per_host > 0
        self._slices = Slices(count, policy.round_timeout_s) if (count := self._session.slices) else None
        self._newest: tuple[Any, Any, int] = (None, None, 0)  # vectors, a reference to them as broadcast, their size
        self._died_storing: dict[int, ActorHandle] = {}
        self._seconds: dict[str, float] = {}  # that each agent took last
        self._typical = math.nan  # seconds of an agent of late

    def open(self, offer: Offer) -> list[AgentCard | Failure]:
        """Open all hosts side by side; an actor that has not started in time is a ResourceError of its agents.

        An actor that is gone, as after the death of an earlier driver, is replaced first.
        """
        self.hosts.offer = offer
        opening = {host: self.hosts.opening(host, handle) for host, handle in self.hosts.handles.items()}
        answers = ask(opening, self._policy.start_timeout_s)
        gone = [host for host, answer in answers.items() if isinstance(answer, Gone)]
        again = {host: self.hosts.opening(host, self.hosts.restart(host)) for host in gone}
        answers |= ask(again, self._policy.start_timeout_s)
        outcomes: list[AgentCard | Failure] = []
        for host, answer in answers.items():
            if isinstance(answer, Failure):
                outcomes += [self.hosts.not_started(name, answer) for name in self._layout.names_of(host)]
            else:
                outcomes += answer
        self._laid_out(replace(self._layout, anywhere=movable(self._session, outcomes)))
        return outcomes

    def add(self, agent: Agent, offer: Offer, slot: int) -> AgentCard | Failure:
        """Start one more actor; it stays only if the agent could be opened."""
        host = self._layout.num_hosts + slot
        opening = self.hosts.add(host, agent).open.remote(offer, [agent.name])
        answer = ask({host: opening}, self._policy.start_timeout_s)[host]
        outcome = self.hosts.not_started(agent.name, answer) if isinstance(answer, Failure) else answer[0]
        if isinstance(outcome, Failure):
            self.hosts.remove(host)
        else:
            self._laid_out(self._layout.with_agent(agent.name, slot))
        return outcome

    def _laid_out(self, layout: Layout) -> None:
        self._layout = layout
        self.hosts.names_of = layout.names_of

    def run(
        self, round: Round, assignments: Sequence[Assignment], *, enough: int | None = None, stop: Stop = lambda: False
    ) -> Collected:
        """Let hosts take shares of the blocks, two at a time; collect until the deadline."""
        blocks = self._layout.blocks_of(assignments)
        self.hosts.revive({block.home for block in blocks})
        sent, size = self._sent(round)
        numbers = sorted(block.index for block in blocks)
        told: Any = replace(round, vectors={})
        present: Any = numbers
        if len(numbers) > _MANY:
            told, present = ray.put(told), ray.put(numbers)
        movers = range(self._layout.num_hosts) if self._layout.anywhere else ()
        single, crossing_s = enough is not None, size / _BYTES_A_SECOND
        shares = Shares(blocks, self._seconds_of, single=single, movers=movers, crossing_s=crossing_s)
        parts: dict[Share, list[Any]] = {}  # references to the slices of each share

        def start(handle: ActorHandle, share: Share) -> Any:
            count = 0 if self._slices is None else self._slices.count
            work, named = (sent, told, share, present), {"name": f"round {round.index}"}  # as dashboards show it
            if self.sends_apart:
                ticket = uuid.uuid4().hex
                handle.begin.options(**named).remote(ticket, *work)
                call = handle.send.options(num_returns=count + 1, **named)
                answers = call.remote(ticket, count, self._policy.round_timeout_s)
            else:
                answers = handle.run.options(num_returns=count + 1, **named).remote(*work, count)
            if not count:
                return answers
            answer, *parts[share] = answers
            return answer

        work = Work(self.hosts, shares, start)
        is_enough = partial(_delivered, work.answered, enough)
        work.go_on(lambda: stop() or is_enough(), self._policy.round_timeout_s)
        surplus = is_enough()
        decisions = self._decided(work, (round.index, round.attempt, round.base_version), surplus)
        spec = self.hosts.offer.spec  # type: ignore[union-attr]
        parts = {share: parts[share] for share, _ in work.answered if share in parts}
        results = [
            lost_share(share, each, "") if isinstance(each, Failure) else inspected(each, share, numbers, round, spec)
            for share, each in self._found(work.answered, parts)
        ]
        as_sent = self._session.upload is None and self._slices is None
        results = [
            notarised(found, share, numbers, round, self.notary, as_sent=as_sent)
            for found, (share, _) in zip(results, work.answered, strict=True)
        ]
        self._timed(results)
        if self._slices is not None:
            results = self._slices.summed(results, numbers, list(parts.values()))
        lost = [(host, share, failure) for host, _, share, failure in work.failed]
        for host, share, failure in (*lost, *work.left_out()):
            if not (surplus and failure.error == "Timeout"):
                results.append(lost_share(share, failure, failure.decision or decisions.get(host, "")))
        bytes_up = sum(num_bytes(getattr(answer, "nodes", ())) for _, answer in work.answered)
        return collect(results, blocks, bytes_up=bytes_up, bytes_down=size * len(work.asked))

    def _unpacked(self, answer: Any) -> Any:
        """What a host sent with tensors in place of arrays; anything else, which is refused, as it is."""
        if not isinstance(answer, ShareResult):
            return answer
        return replace(answer, nodes=unpack(answer.nodes, self._session.upload))

    def _found(
        self, answered: Sequence[tuple[Share, Any]], parts: Mapping[Share, Sequence[Any]]
    ) -> Iterator[tuple[Share, Any]]:
        """What hosts sent for each share; a Failure where slices of it are lost."""
        for number, (share, answer) in enumerate(answered):
            found = self._unpacked(answer)
            whole = self._slices is None or not isinstance(found, ShareResult)
            yield share, found if whole else self._slices.looked_at(found, number, parts[share])  # type: ignore[union-attr]

    def _decided(self, work: Work, round: tuple[int, int, int], surplus: bool) -> dict[int, str]:
        """What is done about each host that did not answer for all of its shares."""
        decisions: dict[int, str] = {}
        for host in work.asked:
            lost = [(ref, failure) for at, ref, _, failure in work.failed if at == host]
            if not lost:
                self.hosts.answered(host)
            elif surplus and all(failure.error == "Timeout" for _, failure in lost):
                self.hosts.handles[host].stop.remote(*round)
            else:
                worst = max((failure for _, failure in lost), key=lambda failure: isinstance(failure, Gone))
                decisions[host] = self.hosts.failed(host, worst, [ref for ref, _ in lost], round)
        return decisions

    def _seconds_of(self, block: Block) -> float:
        """How long a block may take, by what its agents took last, or others of late; NaN if nobody knows."""
        return sum(self._seconds.get(assignment.agent, self._typical) for assignment in block.assignments)

    def _timed(self, results: Sequence[ShareResult]) -> None:
        for result in results:
            if result.reports:
                self._typical = result.seconds / len(result.reports)
                self._seconds.update((report.agent, self._typical) for report in result.reports)

    def ask(self, messages: Mapping[str, Any], round: Round) -> dict[str, Any]:
        """Ask all hosts side by side, those anew that had died."""
        groups = self._layout.by_host(list(messages))
        self.hosts.revive(groups)
        refs = {
            host: self.hosts.handles[host].answer.remote({name: messages[name] for name in names})
            for host, names in groups.items()
            if self.hosts.is_up(host)
        }
        return self._answers(refs, groups, round)

    def validate(self, round: Round, last_rounds: Mapping[str, int]) -> Callable[[], dict[str, OwnScores | Failure]]:
        """Score on all hosts side by side; what waits gives them a round's time from then on."""
        sent, _ = self._sent(round)
        groups = self._layout.by_host(list(last_rounds))
        of = round.index, round.form
        refs = {
            host: self.hosts.handles[host].validate.remote(sent, {n: last_rounds[n] for n in names}, *of)
            for host, names in groups.items()
            if self.hosts.is_up(host)
        }
        return partial(self._answers, refs, groups, round)

    def judge(self, candidates: Sequence[Mapping[str, Tensor]]) -> Sequence[float | Failure]:
        """Let hosts judge them side by side; no codec changes what they judge."""
        return self.hosts.judged([pack(candidate) for candidate in candidates], self._policy.round_timeout_s)

    def _answers(self, refs: Mapping[int, Any], groups: Mapping[int, list[str]], round: Round) -> dict[str, Any]:
        """What hosts answer for each of their agents; a Failure of each whose host does not, or says nothing of it."""
        answers = ask(refs, self._policy.round_timeout_s)
        outcomes: dict[str, Any] = {}
        for host, names in groups.items():
            answer = answers.get(host) or self.hosts.absence(host)
            if isinstance(answer, Failure):
                if host in refs:
                    self.hosts.failed(host, answer, [refs[host]], (round.index, round.attempt, round.base_version))
                outcomes |= {name: Failure(name, answer.error, answer.message) for name in names}
            else:
                outcomes |= {name: answer[name] for name in names}
        return outcomes

    def save(self, storage: Storage, last_rounds: Mapping[str, int]) -> Callable[[], list[Failure]]:
        """Save on the agents' side, all hosts side by side; a dead one is replaced first and saves what it restored.

        One that dies meanwhile is a RunFolderError: without its agents' states, what was durable before is worth more.
        """
        groups = self._layout.by_host(list(last_rounds))
        self._bury()
        self.hosts.revive(groups)
        refs: dict[int, Any] = {}
        for host, names in groups.items():
            if self.hosts.is_up(host):
                handle = self.hosts.handles[host]
                held = handle.hold.remote({name: last_rounds[name] for name in names})
                refs[host] = handle.write.remote(storage, held)
        handles = {host: self.hosts.handles[host] for host in refs}
        absent = {host: self.hosts.absence(host) for host in groups if host not in refs}

        def wait() -> list[Failure]:
            answers = {**absent, **ask(refs, self._policy.round_timeout_s)}
            failures: list[Failure] = []
            for host, answer in answers.items():
                if not isinstance(answer, Failure):
                    failures += answer
                elif host in absent or answer.error == "Timeout":
                    failures += [Failure(name, answer.error, answer.message) for name in groups[host]]
                elif isinstance(answer, Gone):
                    self._died_storing[host] = handles[host]
                    raise RunFolderError(f"the actor of {', '.join(groups[host])} died while it stored their states")
                else:
                    raise RunFolderError(answer.message)
            return failures

        return wait

    def _bury(self) -> None:
        """Take the actors that died while they stored for dead, unless they were replaced since."""
        for host, handle in list(self._died_storing.items()):
            del self._died_storing[host]
            if self.hosts.handles.get(host) is handle and self.hosts.is_up(host):
                self.hosts.failed(host, Gone("", "ActorDiedError", "it died while it stored"), [], (0, 0, 0))

    def restore(self, storage: Storage, names: Sequence[str]) -> None:
        """Restore on the agents' side, all hosts side by side; one that dies meanwhile is replaced in the next round.

        Raises: RunFolderError if a host cannot read.
        """
        groups = self._layout.by_host(names)
        refs = {host: self.hosts.handles[host].restore.remote(storage, group) for host, group in groups.items()}
        for host, answer in ask(refs, self._policy.start_timeout_s).items():
            if isinstance(answer, Gone):
                self.hosts.failed(host, answer, [refs[host]], (0, 0, 0))
            elif isinstance(answer, Failure):
                raise RunFolderError(f"{', '.join(groups[host])}: {answer.message}")

    def saved_at(self, storage: Storage) -> None:
        """Restore the agents of a revived actor from here."""
        self.hosts.saved = storage

    def close(self) -> None:
        """End all actors."""
        self.hosts.close()
        if self._slices is not None:
            self._slices.close()

    def _sent(self, round: Round) -> tuple[Any, int]:
        """A reference to the round's packed vectors, and their size; vectors that were just sent are not sent again."""
        vectors, sent, size = self._newest
        if vectors is not round.vectors:
            self._newest = (None, None, 0)  # its memory is free for the next one
            packed = pack_vectors(round, self._session.broadcast)
            sent, size = ray.put(packed), num_bytes(packed)
            self._newest = (round.vectors, sent, size)
        return sent, size


def _delivered(answered: Sequence[tuple[Share, Any]], enough: int | None) -> bool:
    """Whether that many agents have delivered."""
    return enough is not None and sum(len(getattr(answer, "reports", ())) for _, answer in answered) >= enough
