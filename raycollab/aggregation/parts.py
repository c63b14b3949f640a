"""What an update holds of some of the parameters and buffers, for rules that merge these apart from the others."""

from dataclasses import replace

from raycollab.spec import Coverage, Segments
from raycollab.types import Update


def part_of(update: Update, place: Coverage) -> Update | None:
    """What an update holds of a group of parameters and buffers; None if that is nothing.

    Args:
        update: Of any part of the model.
        place: Where the group stands in the vectors of the whole model.
    """
    if update.coverage is None:
        return replace(update, vectors={name: place.of(name).take(vector) for name, vector in update.vectors.items()})
    here, there = within(update.coverage, place)
    if not here.params.ranges and not here.buffers.ranges:
        return None
    vectors = {name: here.of(name).take(vector) for name, vector in update.vectors.items()}
    return replace(update, vectors=vectors, coverage=None if there.full else there)


def within(held: Coverage, place: Coverage) -> tuple[Coverage, Coverage]:
    """Where what is held of a group stands among what is held, and among the group."""
    params, in_params = held.params.within(place.params)
    buffers, in_buffers = held.buffers.within(place.buffers)
    return Coverage(params, buffers), Coverage(_whole_if_empty(in_params), _whole_if_empty(in_buffers))


def _whole_if_empty(held: Segments) -> Segments:
    """Of a group without any elements there is nothing to leave out."""
    return held if held.size else Segments.all(0)
