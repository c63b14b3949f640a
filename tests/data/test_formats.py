"""Formats other than Parquet: the same rows, whatever they are written in."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import feather, ipc

from raycollab.data import CSV, IID, Arrow, HuggingFace, JSONLines, Parquet
from raycollab.errors import ConfigError, DataError

ROWS = pa.table({"x": [0.5, 1.5, 2.5], "label": [2, 0, 1], "site": ["a", "b", "a"]})
SETTINGS = {"columns": ("x",), "where": {"site": ("a",)}}


def stream(path):
    with ipc.new_stream(path, ROWS.schema) as writer:
        writer.write_table(ROWS)


def arrow_file(path):
    with ipc.new_file(path, ROWS.schema) as writer:
        writer.write_table(ROWS)


def json_lines(path):
    with open(path, "w") as file:
        file.write("".join(json.dumps(row) + "\n\n" for row in ROWS.to_pylist()))  # empty lines do not count


WRITERS = {
    "parquet": (Parquet, lambda path: pq.write_table(ROWS, path), "t.parquet"),
    "stream": (Arrow, stream, "t.arrow"),
    "file": (Arrow, arrow_file, "t.arrow"),
    "feather": (Arrow, lambda path: feather.write_feather(ROWS, path, compression="zstd"), "t.feather"),
    "csv": (CSV, lambda path: pc.write_csv(ROWS, path), "t.csv"),
    "json": (JSONLines, json_lines, "t.jsonl"),
}


@pytest.mark.parametrize("form", WRITERS)
def test_the_same_rows(tmp_path, form):
    kind, write, name = WRITERS[form]
    write(str(tmp_path / name))
    for path in (str(tmp_path / name), str(tmp_path), f"{tmp_path}/*{name[1:]}", f"file://{tmp_path}/{name}"):
        columns = kind(path, **SETTINGS).read()
        assert {key: (column.dtype, column.tolist()) for key, column in columns.items()} == {
            "x": (torch.float32, [0.5, 2.5]),
            "label": (torch.int64, [2, 1]),
        }
    parts = kind(str(tmp_path), columns=("x",)).split(IID(3))
    assert sorted(float(part.read()["x"]) for part in parts) == [0.5, 1.5, 2.5]


@pytest.mark.parametrize("form", WRITERS)
def test_damaged_files_are_named(tmp_path, form):
    kind, _, name = WRITERS[form]
    (tmp_path / name).write_bytes(b"\x00junk")
    with pytest.raises(DataError, match=rf"{name}: (cannot be read as {kind.form}: .*; |no column 'x'|.*'x')"):
        kind(str(tmp_path), **SETTINGS).read()


def test_tensors_of_a_mapped_file_are_copies(tmp_path):
    arrow_file(str(tmp_path / "t.arrow"))
    first = Arrow(str(tmp_path), columns=("x",)).read()["x"].fill_(9)
    assert Arrow(str(tmp_path), columns=("x",)).read()["x"].tolist() == [0.5, 1.5, 2.5]
    assert first.tolist() == [9, 9, 9]


# ---- CSV


def csv(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    return str(tmp_path / "t.csv")


def test_csv_missing_values_and_delimiters(tmp_path):
    source = CSV(csv(tmp_path, "x;label;pet\n1.5;0;cat\n?;1;dog\n"), delimiter=";", categories={"pet": ("cat", "dog")})
    columns = source.read()
    assert columns["x"].isnan().tolist() == [False, True]
    assert columns["pet"].tolist() == [0, 1]
    with pytest.raises(ConfigError, match=r"CSV.delimiter=';;': must be one character"):
        CSV("x.csv", delimiter=";;")


def test_csv_lines_of_another_length(tmp_path):
    path = csv(tmp_path, "x,label\n1.5,0\n2.5\n3.5,1\n4.5,?\n")
    with pytest.raises(DataError, match=r"t.csv: cannot be read as CSV: .*Expected 2 columns, got 1.*bad_rows='skip'"):
        CSV(path).read()
    opened = CSV(path, bad_rows="skip").open()
    assert opened.columns["x"].tolist() == [1.5, 3.5]
    assert [reason.partition("t.csv: ")[2] for reason in opened.skipped] == [
        "row 1 has 1 values, not 2",
        "column 'label': row 3 is null, and int64 has no NaN; fill it or drop the row before training",
    ]
    parts = CSV(path, bad_rows="skip").split(IID(3))
    assert sum(len(part.open().skipped) for part in parts) == 2


# ---- JSON lines


def test_json_lines_that_are_no_objects(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"x": 1.5, "label": 0}\n{"x": 2.5, "lab\n[1]\n{"x": 3.5, "label": 1}\n')
    with pytest.raises(DataError, match=r"t.jsonl: cannot be read as JSON lines: row 1 is no JSON object: .*bad_rows="):
        JSONLines(str(path)).read()
    opened = JSONLines(str(path), bad_rows="skip").open()
    assert opened.columns["x"].tolist() == [1.5, 3.5]
    assert [reason.partition("t.jsonl: ")[2][:23] for reason in opened.skipped] == [
        "row 1 is no JSON object",
        "row 2 is no JSON object",
    ]


# ---- Hugging Face


def save_to_disk(folder, rows, num_shards=1, state=None):
    """What `Dataset.save_to_disk` writes, as far as it is read."""
    folder.mkdir(parents=True)
    names = [f"data-{index:05d}-of-{num_shards:05d}.arrow" for index in range(num_shards)]
    for index, name in enumerate(names):
        part = rows.take(np.array_split(np.arange(rows.num_rows), num_shards)[index])
        with ipc.new_stream(str(folder / name), part.schema) as writer:
            writer.write_table(part)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": n} for n in names], **(state or {})}))
    (folder / "dataset_info.json").write_text("{}")


def test_hugging_face_data_sets_and_their_splits(tmp_path):
    save_to_disk(tmp_path / "one", ROWS, num_shards=2)
    assert HuggingFace(str(tmp_path / "one"), columns=("x",)).read()["label"].tolist() == [2, 0, 1]
    save_to_disk(tmp_path / "two" / "train", ROWS)
    save_to_disk(tmp_path / "two" / "test", ROWS.slice(2))
    (tmp_path / "two" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    read = {part: HuggingFace(str(tmp_path / "two"), part=part, columns=("x",)) for part in ("train", "test")}
    assert {part: source.read()["x"].tolist() for part, source in read.items()} == {
        "train": [0.5, 1.5, 2.5],
        "test": [2.5],
    }
    assert read["test"].describe().endswith("two/test")
    with pytest.raises(DataError, match=r"HuggingFace.part='' is not there; splits in it: test, train"):
        HuggingFace(str(tmp_path / "two")).read()


def test_hugging_face_refusals(tmp_path):
    save_to_disk(tmp_path / "one", ROWS, state={"_indices_data_files": [{"filename": "indices.arrow"}]})
    with pytest.raises(DataError, match=r"one: holds only numbers of rows; save `dataset.flatten_indices\(\)` instead"):
        HuggingFace(str(tmp_path / "one")).read()
    with pytest.raises(
        DataError, match=r"imdb: no file there, and no folder with state.json or dataset_dict.json files"
    ):
        HuggingFace("imdb").read()


def test_images_of_hugging_face(tmp_path):
    """A column of {bytes, path}, as its features Image and Audio are written."""
    from .test_table import encoded

    held = pa.array([{"bytes": encoded(7), "path": None}, {"bytes": None, "path": "there.png"}])
    save_to_disk(tmp_path / "one", pa.table({"image": held, "label": [0, 1]}))
    source = HuggingFace(str(tmp_path / "one"), images={"image": "rgb"}, scale=None, bad_rows="skip")
    opened = source.open()
    assert opened.columns["image"].tolist() == [[[[7]], [[7]], [[7]]]]
    assert len(opened.skipped) == 1
