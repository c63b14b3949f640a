"""Parties in Ray actors of their own. Activations and gradients go from actor to actor by reference.

The process of the driver holds the references and reads none of what they stand for; Ray may keep small objects in its
memory, which is part of one Ray cluster being one trust domain. Every wait has a timeout.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util import remove_placement_group

from raycollab.config import FailureConfig
from raycollab.errors import QuorumError, RaycollabError
from raycollab.runtime.packed_host import device
from raycollab.runtime.placement import Placement, cluster, place, wait_for_resources
from raycollab.storage import Storage
from raycollab.vertical.experiment import Vertical
from raycollab.vertical.live import LiveParty, Opening, Scores
from raycollab.vertical.party import Party
from raycollab.vertical.plan import Plan
from raycollab.vertical.sides import Sides, Stop, folder_of, others_of, stopped

_AHEAD = 16  # batches that are asked for before the first of them has to be done
_KNOCK_S = 5.0  # that a party may take to say that it is there, once something went wrong
Asked = Mapping[str, Any]  # references to answers, by party


class PartyActor(LiveParty):
    """A party in a process of its own, on the GPU that Ray pinned it to, or on the CPU.

    Args:
        party: What it brings.
        plan: What all parties know.
        gpus: GPUs, or the fraction of one, that this actor reserved.
    """

    def __init__(self, party: Party, plan: Plan, gpus: float):
        super().__init__(party, plan, device(gpus))

    def step(self, round: int, batch: int, *activations: np.ndarray) -> Any:
        """See LiveParty.step; a single gradient comes as itself, as Ray has it."""
        gradients = super().step(round, batch, *activations)
        return gradients if len(gradients) != 1 else gradients[0]


class RaySides(Sides):
    """Each party in an actor of its own.

    Args:
        parties: All of them.
        plan: What all of them know.
        placement: What each actor reserves, and where.
        policy: How long to wait.
    """

    def __init__(self, parties: Sequence[Party], plan: Plan, placement: Placement, policy: FailureConfig):
        self._policy = policy
        self._labels = next(party.name for party in parties if party.label is not None)
        self._others = others_of(parties)
        self.handles: dict[str, ActorHandle] = {}
        for host, party in enumerate(parties):
            options = placement.options(host, party.name)
            kind = ray.remote(max_restarts=0, **options)(PartyActor)
            self.handles[party.name] = kind.remote(party, plan, placement.gpus_per_host)

    def open(self) -> dict[str, Opening]:
        """Open side by side."""
        asked = {name: handle.open.remote() for name, handle in self.handles.items()}
        return self._answers([asked], self._policy.start_timeout_s, "start_timeout_s")

    def align(self, common: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
        """Align side by side."""
        asked = {name: handle.align.remote(common) for name, handle in self.handles.items()}
        sizes = self._answers([asked], self._policy.start_timeout_s, "start_timeout_s")
        self._in_time({self._labels: self.handles[self._labels].build_top.remote(dict(shapes))})
        return sizes

    def train(self, round: int, num_batches: int, stop: Stop) -> float:
        """Some batches ahead: each call waits, at its actor, for what it takes."""
        waiting: deque[list[Asked]] = deque()
        for batch in range(num_batches):
            if stop():
                raise stopped(round, batch)
            sent = {name: self.handles[name].forward.remote(round, batch) for name in self._others}
            step = self.handles[self._labels].step.options(num_returns=len(self._others))
            gradients = step.remote(round, batch, *sent.values())
            gradients = gradients if isinstance(gradients, list) else [gradients]
            pairs = zip(self._others, gradients, strict=True)
            done = {name: self.handles[name].backward.remote(round, batch, each) for name, each in pairs}
            waiting.append([sent, {self._labels: gradients[0]}, done])
            if len(waiting) > _AHEAD:
                self._in_time(*waiting.popleft())
        for stages in waiting:
            self._in_time(*stages)
        loss: float = self._in_time({self._labels: self.handles[self._labels].end_round.remote()})[self._labels]
        return loss

    def evaluate(self, num_batches: int) -> Scores:
        """Batch by batch."""
        head = self.handles[self._labels]
        for batch in range(num_batches):
            sent = {name: self.handles[name].look.remote(batch) for name in self._others}
            self._in_time(sent, {self._labels: head.score.remote(batch, *sent.values())})
        scores: Scores = self._in_time({self._labels: head.scores.remote()})[self._labels]
        return scores

    def save(self, storage: Storage, round: int) -> None:
        """Save side by side."""
        self._in_time({name: handle.save.remote(storage, round) for name, handle in self.handles.items()})

    def restore(self, storage: Storage, round: int) -> None:
        """Restore side by side."""
        self._in_time({name: handle.restore.remote(storage, round) for name, handle in self.handles.items()})

    def write(self, storage: Storage) -> None:
        """Write side by side."""
        asked = {name: each.write.remote(storage.child(folder_of(name))) for name, each in self.handles.items()}
        self._in_time(asked)

    def close(self) -> None:
        """End all actors."""
        for handle in self.handles.values():
            ray.kill(handle)

    def _in_time(self, *stages: Asked) -> dict[str, Any]:
        return self._answers(stages, self._policy.round_timeout_s, "round_timeout_s")

    def _answers(self, stages: Sequence[Asked], timeout_s: float, setting: str) -> dict[str, Any]:
        """Answers of the last of some stages, each of which waits for the one before.

        Raises: What a party raised; QuorumError that names those that died or are late.
        """
        asked = stages[-1]
        try:
            return dict(zip(asked, ray.get(list(asked.values()), timeout=timeout_s), strict=True))
        except GetTimeoutError as error:
            raise QuorumError(
                f"{_named(_late(stages))} did not answer within {setting}={timeout_s:g} s, and a vertical run needs "
                f"every party"
            ) from error
        except RayError as error:
            cause = _cause_of(error)
            if isinstance(cause, RaycollabError) or not (gone := self._gone()):
                raise cause from None
            first = str(cause).strip().splitlines()[0]
            raise QuorumError(f"{_named(gone)} died, and a vertical run needs every party: {first}") from error

    def _gone(self) -> list[str]:
        """The parties whose actors are gone."""
        asked = {handle.__ray_ready__.remote(): name for name, handle in self.handles.items()}
        done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_KNOCK_S)
        gone = {asked[ref] for ref in done if not _is_there(ref)}
        return [name for name in self.handles if name in gone]


def _late(stages: Sequence[Asked]) -> list[str]:
    """Those that are not done in the first stage where somebody is not: the others wait for them."""
    late = ([name for name, ref in asked.items() if not ray.wait([ref], timeout=0)[0]] for asked in stages)
    return next((names for names in late if names), list(stages[-1]))


def _is_there(ref: Any) -> bool:
    try:
        ray.get(ref, timeout=_KNOCK_S)
    except RayError:
        return False
    return True


def _cause_of(error: Exception) -> Exception:
    """What a party raised, also where it came by way of others that waited for it."""
    while isinstance(error, RayTaskError) and error.cause is not None:
        error = error.cause
    return error


def _named(parties: Sequence[str]) -> str:
    names = ", ".join(repr(name) for name in parties)
    return f"party {names}" if len(parties) == 1 else f"parties {names}"


@contextmanager
def sides_on_ray(experiment: Vertical, address: str | None) -> Iterator[Sides]:
    """The parties of a run on a Ray cluster, as long as this lasts.

    Raises: ClusterError or ResourceError if the cluster cannot be reached, or lacks what is asked for.
    """
    names = [party.name for party in experiment.parties]
    with cluster(address) as may_grow:
        placement = place(experiment.scaling, len(names), names)
        wait_for_resources(placement, experiment.failure.start_timeout_s if may_grow else 0.0)
        placement = placement.spread_out()
        sides = RaySides(experiment.parties, experiment.plan, placement, experiment.failure)
        try:
            yield sides
        finally:
            sides.close()
            if placement.group is not None:
                remove_placement_group(placement.group)
