"""A party at work on its node. Plain Python; only what its methods take and return ever crosses to others.

That is: salted hashes, counts and shapes before the first round; activations, and the gradients of the loss by them;
the mean loss of a round, metrics on held-out rows and a report of counts from the party with the labels. Ids, columns
and labels have no way out. Activations and gradients do tell something of both: an activation can tell what a column
was, and the gradients of a binary label mostly give that label away to a party that looks at them (Li et al., Label
leakage and protection in two-party split learning, ICLR 2022, arXiv 2102.08504). Nothing here hides that.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raycollab.checkpoint import load_state, save_state
from raycollab.determinism import fixed_threads
from raycollab.errors import DataError, ModelError, RaycollabError, RunFolderError, UpdateError
from raycollab.metrics import Statistics
from raycollab.result import statistics_report
from raycollab.rng import derive_seed
from raycollab.storage import Storage
from raycollab.vertical.bottom import Bottom
from raycollab.vertical.opened import Rows, order_of
from raycollab.vertical.part import save_part
from raycollab.vertical.party import Party
from raycollab.vertical.plan import Plan
from raycollab.vertical.top import Top

_EXAMPLES = 1024  # of a batch in evaluation


@dataclass(frozen=True)
class Opening:
    """What a party says of its rows.

    Args:
        hashes: Salted, of the ids of those that can be used [n].
        num_rejected: Of those that cannot.
        salt_tag: The same for all parties that have the same salt.
        shape: Of one row of its activations; None without a net.
    """

    hashes: np.ndarray
    num_rejected: int
    salt_tag: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Scores:
    """What the party with the labels says of the held-out rows.

    Args:
        metrics: By name.
        text: The classification report, or the metrics of other tasks.
    """

    metrics: Mapping[str, float]
    text: str


class LiveParty:
    """A party at work.

    Args:
        party: What it brings.
        plan: What all parties know of the run.
        device: Where it computes.
    """

    def __init__(self, party: Party, plan: Plan, device: str = "cpu"):
        self._party, self._plan, self._device = party, plan, device
        self._bottom: Bottom | None = None
        self._top: Top | None = None
        self._round, self._order = 0, torch.zeros(0, dtype=torch.long)
        self._senders: tuple[str, ...] = ()
        self._losses: list[tuple[float, int]] = []
        self._statistics = Statistics.empty()

    def open(self) -> Opening:
        """Open the source, hash the ids and build its part of the net.

        Raises: DataError, ConfigError or ModelError that names the party.
        """
        self._rows = Rows(self._party, self._device)
        shape = self._built() if self._party.net is not None else None
        return Opening(self._rows.hashes, self._rows.num_rejected, self._rows.salt_tag, shape)

    def _built(self) -> tuple[int, ...]:
        name = self._party.name
        self._bottom = Bottom(self._party, self._device, derive_seed(self._plan.seed, "vertical", name))
        try:
            made = self._bottom.look(self._rows.first())
        except (RuntimeError, IndexError, TypeError) as error:
            raise ModelError(f"party {name!r}: its net cannot take inputs={self._party.inputs!r}: {error}") from error
        if made.ndim not in (2, 3) or made.dtype != torch.float32:
            kind = str(made.dtype).removeprefix("torch.")
            raise ModelError(
                f"party {name!r}: its net makes {kind} {list(made.shape)}, not float32 [b, w] or [b, t, w]"
            )
        return tuple(made.shape[1:])

    def align(self, common: np.ndarray) -> tuple[int, int]:
        """Keep the common rows; how many there are to train on, and how many are held out."""
        self._num_train, self._num_test = self._rows.align(common, self._plan.held_out)
        return self._num_train, self._num_test

    def build_top(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Build the fusion and the head, where the labels are, for activations of these shapes.

        Raises: DataError for labels that the task refuses.
        """
        plan, labels = self._plan, self._rows.labels
        stand_in = torch.zeros(len(labels), plan.fusion.width)
        with self._rows.named():
            good = plan.task.check({plan.fused: stand_in, plan.label: labels}, self._rows.where)
        if not bool(good.all()):
            raise DataError(f"{self._rows.where}: the task refuses {int((~good).sum())} rows for their labels")
        self._senders = tuple(name for name in shapes if name != self._party.name)
        seed = derive_seed(plan.seed, "vertical top")
        self._top = Top(self._party, plan, shapes, self._device, seed)

    def forward(self, round: int, batch: int) -> np.ndarray:
        """Activations of a training batch [b, ...]."""
        with self._at_work():
            return _array(self._forward(round, batch))

    def backward(self, round: int, batch: int, gradient: np.ndarray) -> None:
        """Learn from the gradient of the loss by what was sent for a batch."""
        with self._at_work():
            self._own.backward((round, batch), self._tensor(gradient))

    def step(self, round: int, batch: int, *activations: np.ndarray) -> tuple[np.ndarray, ...]:
        """Learn from a batch, where the labels are; the gradients by what the others sent, in their order."""
        head = self._head
        with self._at_work():
            given = self._given(activations)
            if self._bottom:
                given[self._party.name] = self._forward(round, batch)
            labels = self._rows.labels_at(self._batch(round, batch), held_out=False)
            loss, gradients = head.step(given, labels, self._seed("vertical head", round, batch))
            self._losses.append((loss, len(labels)))
            if self._bottom:
                self._own.backward((round, batch), gradients[self._party.name])
            return tuple(_array(gradients[name]) for name in self._senders)

    def end_round(self) -> float:
        """Mean loss of the round's batches, where the labels are."""
        losses, self._losses = self._losses, []
        return sum(loss * count for loss, count in losses) / max(sum(count for _, count in losses), 1)

    def look(self, batch: int) -> np.ndarray:
        """Activations of a batch of held-out rows [b, ...]."""
        with self._at_work():
            return _array(self._own.look(self._rows.inputs_at(_examples(batch), held_out=True)))

    def score(self, batch: int, *activations: np.ndarray) -> None:
        """Count a batch of held-out rows, where the labels are."""
        head = self._head
        with self._at_work():
            given = self._given(activations)
            if self._bottom:
                given[self._party.name] = self._own.look(self._rows.inputs_at(_examples(batch), held_out=True))
            labels = self._rows.labels_at(_examples(batch), held_out=True)
            self._statistics += head.score(given, labels)

    def scores(self) -> Scores:
        """What was counted since it was last asked for."""
        statistics, self._statistics = self._statistics, Statistics.empty()
        return Scores(statistics.compute(), statistics_report(statistics))

    def save(self, storage: Storage, round: int) -> None:
        """Store what it has learned by the end of a round."""
        parts = {name: part.state() if part else None for name, part in (("bottom", self._bottom), ("top", self._top))}
        save_state(storage, self._party.name, {"round": round, **parts})

    def restore(self, storage: Storage, round: int) -> None:
        """Go on from what was stored.

        Raises: RunFolderError if nothing of this round was.
        """
        state = load_state(storage, self._party.name)
        if state is None or state["round"] != round:
            raise RunFolderError(f"{storage}: holds no state of party {self._party.name!r} after round {round}")
        for name, part in (("bottom", self._bottom), ("top", self._top)):
            if part is not None:
                part.load(state[name])

    def write(self, storage: Storage) -> None:
        """Write its part of the model for later use."""
        net, top = self._bottom.module if self._bottom else None, self._top.net if self._top else None
        save_part(storage, self._party, self._plan, net, top)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Compute with the threads of the plan, and say whose error it is."""
        try:
            with fixed_threads(self._plan.threads):
                yield
        except (RaycollabError, RuntimeError, IndexError) as error:
            kind = "" if isinstance(error, RaycollabError) else f"{type(error).__name__}: "
            raise UpdateError(f"party {self._party.name!r}: {kind}{error}") from error

    @property
    def _own(self) -> Bottom:
        if self._bottom is None:
            raise ModelError(f"party {self._party.name!r} has no net of its own")
        return self._bottom

    @property
    def _head(self) -> Top:
        if self._top is None:
            raise ModelError(f"party {self._party.name!r} has no labels")
        return self._top

    def _forward(self, round: int, batch: int) -> Tensor:
        rows = self._rows.inputs_at(self._batch(round, batch), held_out=False)
        return self._own.forward(rows, (round, batch), self._seed(self._party.name, round, batch))

    def _batch(self, round: int, batch: int) -> Tensor:
        """Which rows a training batch holds."""
        if round != self._round:
            self._round, self._order = round, order_of(self._plan.seed, round, self._num_train).to(self._device)
        size = self._plan.batch_size
        return self._order[batch * size : (batch + 1) * size]

    def _seed(self, who: str, round: int, batch: int) -> int:
        return derive_seed(self._plan.seed, "vertical torch", who, round, batch)

    def _given(self, activations: Sequence[np.ndarray]) -> dict[str, Tensor]:
        return {name: self._tensor(each) for name, each in zip(self._senders, activations, strict=True)}

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, device=self._device)  # a copy: what arrives may be read-only


def num_looks(num_rows: int) -> int:
    """Batches that so many held-out rows are looked at in."""
    return -(-num_rows // _EXAMPLES)


def _examples(batch: int) -> slice:
    return slice(batch * _EXAMPLES, (batch + 1) * _EXAMPLES)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()
