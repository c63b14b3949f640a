"""Errors about rows that were opened, told by the files that the rows stand in."""

from collections.abc import Iterator
from contextlib import contextmanager

from raycollab.data.base import Opened, Source
from raycollab.errors import DataError, RowError


@contextmanager
def rows_named(source: Source, opened: Opened) -> Iterator[None]:
    """Let an error about one of the rows that were opened say where that stands: the file, and the row in it.

    What was filtered, dealt out, held out and skipped before counts.

    Args:
        source: Where the rows are.
        opened: All of them, as the source opened them; errors inside count them from 0.
    """
    try:
        yield
    except RowError as error:
        number = int(opened.numbers(None)[error.row])
        try:
            place = source.origin(number)
        except DataError:  # the files are no more what they were; the row is still what is wrong
            raise error from None
        raise error.at(*place) from error
