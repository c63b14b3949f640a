"""A party's rows, opened and hashed on its own node, then brought into the order that all parties share."""

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from raycollab.data import Columns, Opened, rows_named
from raycollab.data.columns import take_rows
from raycollab.errors import DataError
from raycollab.rng import derive_seed
from raycollab.tasks.inputs import check_names, finite_rows, taken
from raycollab.vertical.party import Party
from raycollab.vertical.rows import HeldOut, hashed, places_of
from raycollab.vertical.salt import read_salt, tag_of


class Rows:
    """A party's rows.

    Args:
        party: Whose.
        device: Where they are kept once they are in order.

    Attributes:
        hashes: Of the ids of the rows that can be used [n].
        num_rejected: Rows that cannot.
        salt_tag: What tells its salt from another one.
    Raises: DataError or ConfigError that names the party.
    """

    def __init__(self, party: Party, device: str):
        self._party, self._device = party, device
        self.where = f"party {party.name!r}: {party.source.describe()}"
        salt = read_salt(party.salt, party.name)
        opened = party.source.open()
        columns = opened.columns
        wanted = (party.id, *(party.columns if party.net else ()), *((party.label,) if party.label else ()))
        check_names(columns, wanted, self.where)
        self._columns: Columns = {name: columns[name] for name in wanted}
        good = torch.ones(len(columns[party.id]), dtype=torch.bool)
        if party.net is not None:
            with rows_named(party.source, opened):
                good = finite_rows(columns, party.columns, self.where, party.bad_rows)
        self._keep(good)
        self._numbers = opened.numbers(None)[good.numpy()]
        self.num_rejected = len(opened.skipped) + int((~good).sum())
        if not int(good.sum()):
            raise DataError(f"{self.where}: 0 rows can be used ({self.num_rejected:,} rejected)")
        self.salt_tag = tag_of(salt)
        self.hashes = hashed(self._columns[party.id], salt, f"{self.where}: column {party.id!r}")
        self._inputs: dict[bool, Tensor] = {}
        self._labels: dict[bool, Tensor] = {}

    def _keep(self, good: Tensor) -> None:
        if not bool(good.all()):
            self._columns = {name: column[good] for name, column in self._columns.items()}

    def named(self) -> AbstractContextManager[None]:
        """Let an error about one of the rows that can be used say where that stands."""
        return rows_named(self._party.source, Opened(self._columns, kept=self._numbers))

    @property
    def labels(self) -> Tensor:
        """All its labels [n], in the order of its source."""
        return self._columns[self._party.label or ""]

    def first(self) -> Tensor:
        """The inputs of two rows, or of one, to see what a net makes of them."""
        return self._taken(take_rows(self._columns, np.arange(min(2, len(self.hashes))))).to(self._device)

    def align(self, common: np.ndarray, held_out: HeldOut) -> tuple[int, int]:
        """Keep the common rows in their order; how many there are to train on, and how many are held out."""
        try:
            places = places_of(common, self.hashes)
        except DataError as error:
            raise DataError(f"{self.where}: {error}") from error
        out = held_out.of(common)
        for held, chosen in ((False, places[~out]), (True, places[out])):
            columns = take_rows(self._columns, chosen)
            if self._party.net is not None:
                self._inputs[held] = self._taken(columns).to(self._device)
            if self._party.label:
                self._labels[held] = columns[self._party.label].to(self._device)
        return int((~out).sum()), int(out.sum())

    def inputs_at(self, rows: Tensor | slice, *, held_out: bool) -> Tensor:
        """What the net is given for these rows, in the common order."""
        return self._inputs[held_out][rows]

    def labels_at(self, rows: Tensor | slice, *, held_out: bool) -> Tensor:
        """The labels of these rows, in the common order."""
        return self._labels[held_out][rows]

    def _taken(self, columns: Columns) -> Tensor:
        return taken(columns, self._party.inputs)


def order_of(seed: int, round: int, num_rows: int) -> Tensor:
    """The order of the rows in a round [n]: the same for all parties, without a word between them."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "vertical batches", round))
    return torch.randperm(num_rows, generator=generator)
