"""A saved model's predictions for a file, written as another."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from raycollab.data import rows_named
from raycollab.deploy import TrainedModel
from raycollab.errors import RowError
from raycollab.storage import Storage


def predict_file(model: TrainedModel, data: str, out: str) -> int:
    """Predict every row of a file and write the predictions as Parquet; returns the number of rows.

    Args:
        model: The model.
        data: Parquet, Arrow, CSV or JSON-lines file with the task's input columns.
        out: Path of the file to write.
    Raises: DataError if the file cannot be read, lacks a column or holds NaN.
    """
    source = model.source(data, labelled=False)
    opened = source.open()
    with rows_named(source, opened):
        _refuse_non_finite(opened.columns, data)
    predictions = model.predict(opened.columns)
    arrays = {
        name: values.numpy() if values.ndim == 1 else list(values.numpy()) if values.ndim == 2 else values.tolist()
        for name, values in predictions.items()
    }
    table = pa.table(arrays)
    storage, name = Storage.holding(out)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    storage.write_bytes(name, sink.getvalue().to_pybytes())
    return int(table.num_rows)


def _refuse_non_finite(columns: Mapping[str, Tensor], where: str) -> None:
    for name, column in columns.items():
        bad = ~torch.isfinite(column)[:, None].flatten(1).all(1) if column.is_floating_point() else torch.zeros(0)
        if bool(bad.any()):
            what = f" of column {name!r} holds NaN or infinity ({int(bad.sum())} such rows)"
            remedy = "for which no prediction means anything; fill or drop them"
            raise RowError.of(where, int(bad.nonzero()[0]), f"{what}, {remedy}")
