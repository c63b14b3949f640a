"""What runs inside a HostActor: a host that rounds reach as arrays, on the device that Ray gave it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import ray
import torch

from raycollab.agent import Agent
from raycollab.errors import ResourceError
from raycollab.offer import Offer
from raycollab.runtime.host import Host
from raycollab.runtime.judge import Judge
from raycollab.runtime.session import Session
from raycollab.runtime.sharing import Share, ShareResult
from raycollab.runtime.slices import cut_up
from raycollab.runtime.wire import pack_nodes, unpack
from raycollab.types import AgentCard, Failure, OwnScores, Round


class PackedHost:
    """A host that rounds reach as arrays, and whose results leave as arrays: what runs inside a HostActor."""

    def __init__(self, session: Session, agents: Sequence[Agent], device: str):
        self._broadcast, self._upload = session.broadcast, session.upload
        self._host = Host(session, agents, device)
        self._session, self._device = session, device
        self._judge: Judge | None = None  # made when it is first needed
        self._begun: dict[str, Future[Callable[[int], Any]]] = {}  # what packs each share that is not sent yet
        self.stop, self.answer = self._host.stop, self._host.answer
        self.hold, self.write, self.restore = self._host.hold, self._host.write, self._host.restore

    def open(self, offer: Offer, names: Collection[str] | None = None) -> list[AgentCard | Failure]:
        """See Host.open; nobody sends any more what an earlier driver asked for."""
        for begun in list(self._begun.values()):
            begun.cancel()
        self._begun = {}
        return self._host.open(offer, names)

    def run(self, vectors: Any, round: Round, share: Share, present: Sequence[int], slices: int = 0) -> Any:
        """See Host.run; the round's vectors come apart from it, and so many slices of long vectors after the result."""
        return self._packed(self._host.run(self._whole(round, vectors), share, present), round, slices)

    def begin(self, ticket: str, vectors: Any, round: Round, share: Share, present: Sequence[int]) -> None:
        """The first half of `run`, for the `send` with this ticket; so is an error."""
        try:
            arrived = self._host.begin(self._whole(round, vectors), share, present)
        except BaseException as error:
            self._future(ticket).set_exception(error)
        else:
            self._future(ticket).set_result(lambda slices: self._packed(arrived(), round, slices))

    def send(self, ticket: str, slices: int, timeout_s: float) -> Any:
        """The second half, in another thread: waits for the first, and sends while the next share is begun.

        Raises: What `begin` raised; TimeoutError if it has not ended in time; CancelledError once another driver has
            opened the host.
        """
        begun = self._future(ticket)
        try:
            return begun.result(timeout_s)(slices)
        finally:
            self._begun.pop(ticket, None)
            del begun  # with an error it would keep this frame, and all that was made of the share, alive

    def _future(self, ticket: str) -> Future[Callable[[int], Any]]:
        return self._begun.setdefault(ticket, Future())

    def _whole(self, round: Round, vectors: Any) -> Round:
        return replace(round, vectors=unpack(vectors, self._broadcast))

    def _packed(self, result: ShareResult, round: Round, slices: int) -> Any:
        nodes = pack_nodes(result.nodes, self._upload, round)
        if not slices:
            return replace(result, nodes=nodes)
        nodes, parts = cut_up(nodes, slices)
        return replace(result, nodes=nodes), *parts

    def judge(self, vectors: Any) -> float:
        """See Judge.loss."""
        if self._judge is None:
            self._judge = Judge(self._session, self._device)
        return self._judge.loss(unpack(vectors))

    def validate(
        self, vectors: Any, last_rounds: Mapping[str, int], index: int, form: int = 0
    ) -> dict[str, OwnScores | Failure]:
        """See Host.validate."""
        return self._host.validate(unpack(vectors, self._broadcast), last_rounds, index, form)


def device(gpus: float) -> str:
    """The device of an actor that reserved this many GPUs; a fraction limits its memory to as much.

    Raises: ResourceError if torch sees no GPU where Ray promised one.
    """
    if not gpus:
        return "cpu"
    if not torch.cuda.is_available():
        raise ResourceError(
            f"Ray gave this actor GPU {ray.get_gpu_ids()}, but torch {torch.__version__} sees none; "
            f"install a CUDA build of torch"
        )
    if gpus < 1:
        torch.cuda.set_per_process_memory_fraction(gpus)
    return "cuda:0"
