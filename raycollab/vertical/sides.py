"""The parties as the driver asks them, and all of them in this process."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from raycollab.errors import RoundStopped
from raycollab.storage import Storage
from raycollab.vertical.live import LiveParty, Opening, Scores
from raycollab.vertical.party import Party
from raycollab.vertical.plan import Plan

Stop = Callable[[], bool]


class Sides(ABC):
    """The parties at work. All of them are needed: any failure is an error, and ends the run.

    Raises: Whatever a party raises, naming it; QuorumError if one died or is late.
    """

    @abstractmethod
    def open(self) -> dict[str, Opening]:
        """Let every party open its rows."""

    @abstractmethod
    def align(self, common: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
        """Let every party keep the common rows, and the one with the labels build the head; how many each has."""

    @abstractmethod
    def train(self, round: int, num_batches: int, stop: Stop) -> float:
        """Let all learn from the batches of a round, one after another; the mean loss.

        Raises: RoundStopped once `stop` says so.
        """

    @abstractmethod
    def evaluate(self, num_batches: int) -> Scores:
        """Score the held-out rows."""

    @abstractmethod
    def save(self, storage: Storage, round: int) -> None:
        """Let every party store what it has learned."""

    @abstractmethod
    def restore(self, storage: Storage, round: int) -> None:
        """Let every party go on from what it stored."""

    @abstractmethod
    def write(self, storage: Storage) -> None:
        """Let every party write its part of the model into its own folder."""

    @abstractmethod
    def close(self) -> None:
        """Free what they use."""


class LocalSides(Sides):
    """All parties in this process, one after another: for debugging, small runs and tests.

    Args:
        parties: All of them.
        plan: What all of them know.
        device: Where they compute.
    """

    def __init__(self, parties: Sequence[Party], plan: Plan, device: str = "cpu"):
        self.live = {party.name: LiveParty(party, plan, device) for party in parties}
        self._labels = next(party.name for party in parties if party.label is not None)
        self._others = others_of(parties)

    def open(self) -> dict[str, Opening]:
        """Open one after another."""
        return {name: live.open() for name, live in self.live.items()}

    def align(self, common: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
        """Align one after another."""
        sizes = {name: live.align(common) for name, live in self.live.items()}
        self.live[self._labels].build_top(shapes)
        return sizes

    def train(self, round: int, num_batches: int, stop: Stop) -> float:
        """Batch by batch: forward at all, a step at the one with the labels, backward at all."""
        for batch in range(num_batches):
            if stop():
                raise stopped(round, batch)
            sent = [self.live[name].forward(round, batch) for name in self._others]
            gradients = self.live[self._labels].step(round, batch, *sent)
            for name, gradient in zip(self._others, gradients, strict=True):
                self.live[name].backward(round, batch, gradient)
        return self.live[self._labels].end_round()

    def evaluate(self, num_batches: int) -> Scores:
        """Batch by batch."""
        for batch in range(num_batches):
            sent = [self.live[name].look(batch) for name in self._others]
            self.live[self._labels].score(batch, *sent)
        return self.live[self._labels].scores()

    def save(self, storage: Storage, round: int) -> None:
        """Save one after another."""
        for live in self.live.values():
            live.save(storage, round)

    def restore(self, storage: Storage, round: int) -> None:
        """Restore one after another."""
        for live in self.live.values():
            live.restore(storage, round)

    def write(self, storage: Storage) -> None:
        """Write one after another."""
        for name, live in self.live.items():
            live.write(storage.child(folder_of(name)))

    def close(self) -> None:
        """Nothing to free."""


def others_of(parties: Sequence[Party]) -> tuple[str, ...]:
    """The parties that send activations, in the order in which the one with the labels takes them."""
    return tuple(party.name for party in parties if party.label is None)


def stopped(round: int, batch: int) -> RoundStopped:
    """What ends a round that is given up."""
    return RoundStopped(f"told to stop in round {round} after {batch} batches")


def folder_of(party: str) -> str:
    """The folder of a party's part of the model, in the run folder."""
    return f"party-{party}"
