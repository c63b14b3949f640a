"""The driver's part in finding the rows that all parties have: it compares hashes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from raycollab.errors import ConfigError, DataError
from raycollab.vertical.live import Opening
from raycollab.vertical.rows import check_in_common, in_common
from raycollab.vertical.sides import Sides

_FLOAT = 4  # bytes


@dataclass(frozen=True)
class Card:
    """What becomes of a party's rows.

    Args:
        rows: That can be used.
        rejected: That cannot.
        dropped: Of the usable ones, those that are not at all parties.
        activations: Numbers that it sends for a row; 0 for the party with the labels.
    """

    rows: int
    rejected: int
    dropped: int
    activations: int


@dataclass(frozen=True)
class Aligned:
    """The rows in common.

    Args:
        cards: By party.
        num_train: Rows to train on.
        num_test: Rows that are held out.
        digest: Of the hashes in common, which are in the order that all parties share.
    """

    cards: Mapping[str, Card]
    num_train: int
    num_test: int
    digest: str

    @property
    def bytes_a_pass(self) -> int:
        """Of activations in a pass over the training rows; their gradients are as many."""
        return _FLOAT * self.num_train * sum(card.activations for card in self.cards.values())


def align(sides: Sides, labelled: str) -> Aligned:
    """Let the parties open their rows, and tell each of them which are at all of them.

    Args:
        sides: The parties.
        labelled: The one with the labels, which sends no activations.
    Raises: ConfigError if their salts differ; DataError if they have no row in common, or none is left on a side.
    """
    openings = sides.open()
    _check_salts(openings)
    common = in_common([opening.hashes for opening in openings.values()])
    check_in_common(common, {name: len(opening.hashes) for name, opening in openings.items()})
    shapes = {name: opening.shape for name, opening in openings.items() if opening.shape is not None}
    sizes = set(sides.align(common, shapes).values())
    (num_train, num_test), *others = sizes
    if others:
        raise DataError(f"the parties hold out different rows, of which they were told the same: {sorted(sizes)}")
    if not num_train or not num_test:
        raise DataError(
            f"of {len(common)} rows in common {num_train} are left to train on, and {num_test} are held out: bring "
            f"more rows, or set another HeldOut.fraction or seed"
        )
    cards = {
        name: Card(
            len(opening.hashes),
            opening.num_rejected,
            len(opening.hashes) - len(common),
            0 if name == labelled else prod(shapes[name]),
        )
        for name, opening in openings.items()
    }
    return Aligned(cards, num_train, num_test, hashlib.sha256(common.tobytes()).hexdigest())


def _check_salts(openings: Mapping[str, Opening]) -> None:
    tags = {name: opening.salt_tag for name, opening in openings.items()}
    if len(set(tags.values())) > 1:
        held = ", ".join(f"{name} {tag}" for name, tag in tags.items())
        raise ConfigError(
            f"Party.salt: the parties hold different salts, by their tags: {held}; give all of them the same file"
        )
