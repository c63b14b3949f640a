"""An error about a row names the file that the row stands in and its number there, whatever was left out before."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import raycollab as rc
from raycollab.data import (
    CSV,
    Arrays,
    Changing,
    Digits,
    Distorted,
    Growing,
    Holdout,
    ImageFolder,
    Missing,
    Noise,
    Only,
    Paired,
    Parquet,
    Part,
    Relabelled,
    Streamed,
    StreamedShard,
    rows_named,
)
from raycollab.errors import DataError, RowError
from raycollab.quality.opening import open_shard
from raycollab.shared_set import SharedSet

TASK = rc.Classification(rc.models.MLP(2, 3), num_classes=3)
ROWS = 20  # of each file


@pytest.fixture
def folder(tmp_path):
    """Two files; `x` counts their rows from 0 and from 100, and the first row of each cannot be read."""
    for name, start in (("a", 0), ("b", 100)):
        write(tmp_path / f"{name}.parquet", start)
    return tmp_path


def write(path, start, value=None, label=None):
    """Rows of one file; the thirteenth has this value or this label."""
    x = np.arange(start, start + ROWS, dtype=np.float32)
    labels = [None, *(np.arange(1, ROWS) % 3).tolist()]
    x[13] = x[13] if value is None else value
    labels[13] = labels[13] if label is None else label
    half = ["old", "new"] * (ROWS // 2)
    pq.write_table(pa.table({"x": x, "y": x, "half": half, "label": labels}), path)


def source(folder, **settings):
    settings = {"columns": ("x", "y"), "stack": {"features": ("x", "y")}, "bad_rows": "skip", **settings}
    return Parquet(str(folder), **settings)


def origins(source):
    """The file and the number of each row that is there, beside what it holds."""
    opened = source.open()
    found = [source.origin(int(number)) for number in opened.numbers(None)]
    return found, [int(value) for value in opened.columns["features"][:, 0]]


@pytest.mark.parametrize(
    "made",
    [
        lambda whole: whole,
        lambda whole: replace(whole, where={"half": ("new",)}),
        lambda whole: Part(whole, rc.Dirichlet(0.5, 2), 1),
        lambda whole: Holdout(whole, "test", 0.3),
        lambda whole: Holdout(Part(replace(whole, where={"half": ("new",)}), rc.Dirichlet(1.0, 2), 1), "train", 0.3),
        lambda whole: Only(whole, (1, 2)),
        lambda whole: Missing(Only(whole, (1,)), {"features": 0.0}),
        lambda whole: Part(Distorted(whole, (Noise(0.0),), "features"), rc.IID(3), 2),
        lambda whole: Relabelled(whole, (2, 1, 0)),
        lambda whole: Changing((whole, Digits()), (2,)),
        lambda whole: Growing(whole),
    ],
)
def test_every_row_is_told_by_what_stands_in_it(folder, made):
    """Row n of file a holds n, and row n of file b 100 + n."""
    found, held = origins(made(source(folder)))
    assert [(name == f"{folder}/b.parquet") * 100 + row for name, row in found] == held
    assert held


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"value": np.nan}, r"of column 'features' holds NaN or infinity \(1 such rows\); clean"),
        ({"label": 7}, r"has label 7, outside 0..2 \(1 such rows\); correct the labels or set num_classes"),
    ],
    ids=["NaN", "label"],
)
def test_a_part_of_two_files(folder, change, what):
    """The bad row is the fourteenth of the second file, and somewhere else in the part that holds it."""
    write(folder / "b.parquet", 100, **change)
    part = next(
        part
        for part in source(folder).split(rc.Dirichlet(0.5, 2))
        if (f"{folder}/b.parquet", 13) in [part.origin(int(number)) for number in part.open().numbers(None)]
    )
    for each in (part, source(folder), source(f"{folder}/*.parquet"), replace(part.source, where={"half": ("new",)})):
        where = f"agent 'south': {each.describe()}"
        with pytest.raises(DataError, match=rf"b.parquet: row 13 {what}") as caught:
            open_shard(each, TASK, where=where, val_fraction=0.1, seed=0)
        assert str(caught.value).startswith(f"{where}: {folder}/b.parquet: row 13 ")


def test_a_file_that_is_named_already_is_not_named_again(folder):
    write(folder / "b.parquet", 100, label=7)
    file = f"{folder}/b.parquet"
    with pytest.raises(DataError, match=f"^the shared test set: {file}: row 13 has label 7"):
        SharedSet(source(file), TASK, "cpu")
    with pytest.raises(DataError, match=f"^the shared test set: {file} where half=new: {file}: row 13 has label 7"):
        SharedSet(source(file, where={"half": ("new",)}), TASK, "cpu")


def test_streams_name_rows_of_their_files(folder):
    write(folder / "b.parquet", 100, value=np.nan)
    shard = StreamedShard(Streamed(source(folder), buffer=8), TASK.check, val_fraction=0.2, seed=0, name="south")
    with pytest.raises(DataError, match=f"^south: {folder}/b.parquet: row 13 of column 'features' holds NaN"):
        [batch for split in ("train", "val") for batch in shard.batches(split, 4, seed=0)]
    assert Streamed(source(folder)).origin(25) == (f"{folder}/b.parquet", 5)


def test_lines_that_a_reader_left_out_count(tmp_path):
    lines = ["x,y,label", "0,0,0", "1,1", "2,2,7"]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    read = CSV(f"{tmp_path}/t.csv", stack={"features": ("x", "y")}, bad_rows="skip")
    with pytest.raises(DataError, match=r"t.csv: row 2 has label 7"):
        open_shard(read, TASK, where=read.describe(), val_fraction=0.0, seed=0)


def test_a_pair_names_both_of_its_files(folder):
    write(folder / "b.parquet", 100, value=np.nan)
    one = source(f"{folder}/a.parquet")
    other = source(f"{folder}/b.parquet", stack={"other": ("x", "y")})
    pairs = Paired(one, other)
    task = rc.Classification(rc.models.MLP(4, 3), num_classes=3, inputs=("features", "other"))
    with pytest.raises(DataError, match=r"a.parquet: row \d+ beside .*b.parquet: row 13 of column 'other' holds NaN"):
        open_shard(pairs, task, where="here", val_fraction=0.0, seed=0)


def test_an_image_is_told_by_its_file(tmp_path):
    for name in ("cat", "cow", "dog"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name / "0.png")
    images = ImageFolder(str(tmp_path), ("cat", "cow", "dog"))
    task = rc.ImageClassification(rc.models.MLP(48, 2), num_classes=2)
    with pytest.raises(DataError, match=r"dog/0.png: row 0 has label 2, outside 0..1"):
        open_shard(images, task, where=images.describe(), val_fraction=0.0, seed=0)


def test_without_files_the_source_is_named():
    columns = {"features": torch.randn(30, 2), "label": torch.arange(30) % 3}
    columns["features"][17] = torch.nan
    rows = Arrays(columns, "rows")
    with pytest.raises(DataError, match=r"^here: rows \(30 examples\): row 17 of column 'features' holds NaN"):
        open_shard(Holdout(rows, "train", 0.1), TASK, where="here", val_fraction=0.0, seed=0)
    with pytest.raises(DataError, match=r"^here: rows \(30 examples\): row 17 of column 'features' holds NaN"):
        open_shard(rows, TASK, where=f"here: {rows.describe()}", val_fraction=0.0, seed=0)


def test_other_errors_pass():
    rows = Arrays({"features": torch.randn(3, 2)}, "rows")
    with pytest.raises(DataError, match=r"^the task needs") as caught, rows_named(rows, rows.open()):
        raise DataError("the task needs column 'label'")
    assert not isinstance(caught.value, RowError)
