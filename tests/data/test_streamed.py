"""Streams: the rows of a file, each once a pass, a buffer at a time."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raycollab.data import IID, ByColumn, Parquet, Streamed, StreamedShard
from raycollab.errors import ConfigError, DataError


@pytest.fixture
def path(tmp_path):
    """A hundred rows in two files, in row groups of 13."""
    for index in range(2):
        rows = np.arange(50 * index, 50 * index + 50)
        table = pa.table({"x": rows.astype(np.float32), "label": rows % 3, "site": [f"s{row % 2}" for row in rows]})
        pq.write_table(table, tmp_path / f"{index}.parquet", row_group_size=13)
    return str(tmp_path)


def everything(columns, where):
    return torch.ones(len(columns["label"]), dtype=torch.bool)


def shard(path, check=everything, buffer=16, val_fraction=0.2, **settings):
    streamed = Streamed(Parquet(path, columns=("x",), **settings), buffer=buffer)
    return StreamedShard(streamed, check, val_fraction=val_fraction, seed=3)


def seen(batches):
    return [int(x) for batch in batches for x in batch["x"]]


@pytest.mark.parametrize("buffer", [1, 16, 4096])
@pytest.mark.parametrize("seed", [None, 0])
def test_a_pass_gives_every_row_once(path, buffer, seed):
    opened = shard(path, buffer=buffer)
    assert (opened.num_examples("train"), opened.num_examples("val")) == (80, 20)
    train, val = (list(opened.batches(split, 7, seed=seed)) for split in ("train", "val"))
    assert [len(batch["x"]) for batch in train] == [7] * 11 + [3]
    assert sorted(seen(train) + seen(val)) == list(range(100))
    assert all(torch.equal(batch["label"], batch["x"].long() % 3) for batch in train)
    assert len(list(opened.batches("train", 7, seed=seed, drop_last=True))) == 11


def test_order_comes_from_the_seed(path):
    opened = shard(path)
    first, again, other = (seen(opened.batches("train", 8, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert first != sorted(first)
    assert seen(opened.batches("train", 8, seed=None)) == sorted(first)
    assert seen(shard(path).batches("val", 8, seed=None)) == seen(opened.batches("val", 8, seed=None))


def test_only_the_buffer_is_read_before_the_first_batch(path, monkeypatch):
    read = []
    decode = Parquet.decode
    monkeypatch.setattr(Parquet, "decode", lambda self, part: read.append(part.table.num_rows) or decode(self, part))
    opened = shard(path, val_fraction=0.0)
    assert not read
    next(opened.batches("train", 4, seed=0))
    assert 16 <= sum(read) < 16 + 13


def test_where_and_by_column_count_their_rows(path):
    assert shard(path, where={"site": ("s1",)}, val_fraction=0.0).num_examples() == 50
    parts = Streamed(Parquet(path, columns=("x",))).split(ByColumn("site", ("s0", "s1")))
    opened = [StreamedShard(part, everything, val_fraction=0.1, seed=0) for part in parts]
    assert [each.num_examples("val") for each in opened] == [5, 5]
    assert all(row % 2 == 1 for row in seen(opened[1].batches("train", 8, seed=0)))
    with pytest.raises(ConfigError, match=r"Streamed: partition=IID.*: must be ByColumn"):
        Streamed(Parquet(path)).split(IID(2))
    with pytest.raises(DataError, match="0 examples; an agent needs at least one"):
        shard(path, where={"site": ("s9",)})


def test_bad_rows_are_left_out_where_they_are_met(path):
    def even(columns, where):
        assert where.endswith(".parquet")
        return columns["x"] % 2 == 0

    opened = shard(path, check=even, val_fraction=0.0)
    assert opened.num_examples() == 100
    assert sorted(seen(opened.batches("train", 8, seed=0))) == list(range(0, 100, 2))


def test_bad_rows_are_counted_once(tmp_path):
    """Of forty rows the reader skips four without a label, and the check lets ten through; passes count them once."""
    labels = [None if row % 10 == 5 else 0 for row in range(40)]
    table = pa.table({"x": np.arange(40, dtype=np.float32), "label": pa.array(labels, pa.int64())})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=13)
    opened = shard(str(tmp_path), check=lambda columns, where: columns["x"] % 4 == 0, bad_rows="skip")
    assert opened.rejected == 0
    next(opened.batches("train", 2, seed=0))
    assert 0 < opened.rejected < 30
    train = seen(opened.batches("train", 8, seed=0))
    assert opened.rejected == 32 - len(train)
    rest = seen(opened.batches("val", 8, seed=None))
    assert sorted(train + rest) == list(range(0, 40, 4))
    assert opened.rejected == 30
    list(opened.batches("train", 8, seed=1))
    assert opened.rejected == 30


def test_reading_at_once_gives_the_same_rows(path):
    streamed = Streamed(Parquet(path, columns=("x",)))
    assert streamed.read()["x"].tolist() == list(range(100))
    assert streamed.keys(("label",))["label"].tolist() == [row % 3 for row in range(100)]
