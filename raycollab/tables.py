"""Rows of plain values as a Parquet file."""

from typing import Any

import pyarrow as pa
from pyarrow import parquet

from raycollab.errors import RunFolderError


def parquet_of(rows: list[dict[str, Any]], place: object) -> bytes:
    """The file: columns in the order in which they come up, null where missing.

    Raises: RunFolderError that names the place if a column has values of several types.
    """

    def column(name: str) -> list[Any]:  # parquet has no struct without fields: {} becomes null
        return [None if isinstance(row.get(name), dict) and not row[name] else row.get(name) for row in rows]

    sink = pa.BufferOutputStream()
    try:
        table = pa.table({name: column(name) for name in dict.fromkeys(name for row in rows for name in row)})
        parquet.write_table(table, sink, compression="zstd")
    except pa.ArrowException as error:
        raise RunFolderError(f"cannot write {place}: {error}; give each column one type") from error
    return sink.getvalue().to_pybytes()
