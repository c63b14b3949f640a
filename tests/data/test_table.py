"""What all sources of tables share: filters, names, rows that are skipped, and parts that read only what is theirs."""

import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from raycollab.data import IID, ByColumn, Dirichlet, Explicit, Holdout, LabelShards, Parquet, images
from raycollab.data import table as table_module
from raycollab.errors import ConfigError, DataError

real_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)
PETS = {
    "x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    "label": ["cat", "dog", "cat", "cow", None, "dog"],
    "owner": ["ann", "bob", "ann", "bob", "ann", "eve"],
}
NAMES = {"label": ("cat", "dog")}


@pytest.fixture
def pets(tmp_path):
    """Two files of three rows each."""
    for index in range(2):
        part = {name: values[3 * index : 3 * index + 3] for name, values in PETS.items()}
        pq.write_table(pa.table(part), tmp_path / f"{index}.parquet")
    return str(tmp_path)


def read(source):
    return {name: column.tolist() for name, column in source.read().items()}


# ---- names, and rows that cannot be used


def test_names_become_numbers_in_the_order_given(pets):
    known = {"label": ("dog", "cow", "cat")}
    source = Parquet(f"{pets}/0.parquet", columns=("x",), categories=known)
    assert read(source) == {"x": [0, 1, 2], "label": [2, 0, 2]}
    assert Parquet(pets, categories=known) == Parquet(pets, categories={"label": ["dog", "cow", "cat"]})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("cat", "dog"),
            r"1.parquet: column 'label': row 0 holds 'cow', which is none of: cat, dog; add it to categor",
        ),
        (("cat", "dogs", "cow"), r"0.parquet: column 'label': row 1 holds 'dog', .*; did you mean 'dogs'\? add it"),
        (("cat", "dog", "cow"), r"1.parquet: column 'label': row 1 is null; fill it .*, or leave .* bad_rows='skip'"),
    ],
)
def test_other_names_are_refused_with_file_and_row(pets, names, message):
    with pytest.raises(DataError, match=message):
        Parquet(pets, columns=("x",), categories={"label": names}).read()


def test_skipped_rows_are_counted_and_named(pets):
    opened = Parquet(pets, columns=("x",), categories=NAMES, bad_rows="skip").open()
    assert opened.columns["x"].tolist() == [0, 1, 2, 5]
    assert opened.columns["label"].tolist() == [0, 1, 0, 1]
    assert opened.kept.tolist() == [0, 1, 2, 5]
    assert [reason.partition(": ")[2][:24] for reason in opened.skipped] == [
        "column 'label': row 0 ho",
        "column 'label': row 1 is",
    ]


def test_every_kind_of_bad_row_can_be_skipped(tmp_path):
    """Row 0 is good; each other row has one thing wrong with it."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(file, "png")
    good, cut = file.getvalue(), file.getvalue()[:-30]
    columns = {
        "image": [good, cut, b"no image", None, good, good, good],
        "list": [[1, 2], [1, 2], [1, 2], [1, 2], [1, 2, 3], [1, None], [1, 2]],
        "raw": pa.array([b"ab"] * 6 + [None], pa.binary(2)),
        "label": pa.array(range(7)),
    }
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table(columns), path)
    source = Parquet(path, images={"image": "rgb"}, bad_rows="skip")
    opened = source.open()
    assert opened.columns["label"].tolist() == [0]
    assert len(opened.skipped) == 6
    assert [len(part.open().skipped) for part in source.split(Explicit(((0, 1), (2, 3, 4))))] == [1, 3]
    with pytest.raises(DataError, match=r"'image': row 1 is no image that can be read.*\(3 such rows\), or leave such"):
        Parquet(path, images={"image": "rgb"}).read()


# ---- where


def test_where_keeps_rows_of_some_values(pets):
    source = Parquet(pets, columns=("x",), where={"owner": ("bob", "eve")}, label=None)
    assert read(source) == {"x": [1, 3, 5]}
    assert read(Parquet(pets, columns=("x",), where={"owner": ("ann",), "x": (2, 4)}, label=None)) == {"x": [2, 4]}
    assert source.describe().endswith("where owner=bob|eve")
    with pytest.raises(DataError, match=r"1.parquet: column 'label': row 0 holds 'cow'"):
        Parquet(pets, columns=("x",), where={"owner": ("bob",)}, categories=NAMES).read()


def test_a_column_of_names_that_is_filtered_by_need_not_be_read(pets):
    assert list(Parquet(pets, where={"owner": ("eve",)}, categories=NAMES).read()) == ["x", "label"]


def test_by_column_gives_each_its_own_rows_by_name(pets):
    parts = Parquet(pets, columns=("x",), label=None).split(ByColumn("owner", ("bob", "ann")))
    assert [read(part)["x"] for part in parts] == [[1, 3], [0, 2, 4]]
    assert len({hash(part) for part in parts}) == 1
    assert parts[0] != parts[1]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"owner": ("zoe",)}, r"where owner=zoe: no row of 2 file\(s\) is such: 'owner' holds ann, bob, eve$"),
        ({"home": ("x",)}, "no column 'home'; there are: x, label, owner"),
        ({"x": ("ann",)}, r"column 'x' holds double, and \('ann',\) are not"),
    ],
)
def test_where_that_fits_nothing(pets, where, message):
    with pytest.raises(DataError, match=message):
        Parquet(pets, columns=("x",), label=None, where=where).read()


# ---- parts read what is theirs


def encoded(number):
    file = io.BytesIO()
    Image.fromarray(np.full((1, 1, 3), number, np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def numbered(tmp_path):
    """Twenty images that are their number, in two files, label i % 4."""
    for index in range(2):
        rows = range(10 * index, 10 * index + 10)
        table = {
            "image": [encoded(i) for i in rows],
            "label": [i % 4 for i in rows],
            "site": [f"s{i % 3}" for i in rows],
        }
        pq.write_table(pa.table(table), tmp_path / f"{index}.parquet")
    return Parquet(str(tmp_path), columns=("image",), images={"image": "rgb"}, scale=None)


def numbers(columns):
    return columns["image"][:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    "partition", [IID(3), Dirichlet(0.5, 4), LabelShards(4), Dirichlet(0.5, 3, by="site")], ids=repr
)
def test_parts_decode_each_image_once(numbered, partition, monkeypatch):
    decoded = []
    decode = images._decoded
    monkeypatch.setattr(images, "_decoded", lambda content, *rest: decoded.append(content) or decode(content, *rest))
    parts = [part.read() for part in numbered.split(partition)]
    assert sorted(number for part in parts for number in numbers(part)) == list(range(20))
    assert all(part["label"].tolist() == [number % 4 for number in numbers(part)] for part in parts)
    assert len(decoded) == 20


def test_files_are_read_once_for_all_parts(numbered):
    table_module._stored_once.cache_clear()
    for part in numbered.split(IID(4)):
        part.read()
    assert table_module._stored_once.cache_info().misses == 1


def test_rows_come_in_the_order_of_the_index(numbered):
    index = np.array([15, 3, 3, 0, 19])
    assert numbers(numbered.open(index).columns) == index.tolist()


def test_rows_of_an_index_that_are_skipped(tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"x": [0, None, 2, None, 4], "label": [0, 1, 2, 3, 4]}), path)
    opened = Parquet(path, bad_rows="skip").open(np.array([4, 3, 0, 1]))
    assert opened.columns["label"].tolist() == [4, 0]
    assert opened.kept.tolist() == [0, 2]
    assert len(opened.skipped) == 2


def test_holdout_of_a_part_reads_the_same_rows_as_of_arrays(numbered):
    whole = numbered.read()
    for side in ("train", "test"):
        source = Holdout(numbered.split(IID(2))[1], side, 0.3)
        assert numbers(source.read()) == [number for number in numbers(whole) if number in numbers(source.read())]
    sides = [numbers(Holdout(numbered.split(IID(2))[1], side, 0.3).read()) for side in ("train", "test")]
    assert sorted(sides[0] + sides[1]) == numbers(numbered.split(IID(2))[1].read())
    assert [len(side) for side in sides] == [7, 3]


def test_rows_without_a_label_are_a_group_of_their_own(pets):
    source = Parquet(pets, columns=("x",), categories=NAMES, bad_rows="skip")
    assert source.keys(("label",))["label"].tolist() == [0, 1, 0, -1, -1, 1]
    parts = [part.open() for part in source.split(Dirichlet(1.0, 2, min_examples=1))]
    assert sorted(x for part in parts for x in part.columns["x"].tolist()) == [0, 1, 2, 5]
    assert sum(len(part.skipped) for part in parts) == 2


def test_rows_are_grouped_by_numbers_or_names_only(numbered):
    with pytest.raises(DataError, match="column 'image' holds binary; rows are grouped by one number or name each"):
        numbered.split(Dirichlet(1.0, 2, by="image"))[0].read()
    with pytest.raises(DataError, match="no column 'city'; there are: image, label, site"):
        numbered.split(Dirichlet(1.0, 2, by="city"))[0].read()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bad_rows": "drop"}, "Parquet.bad_rows='drop': must be 'error' or 'skip'"),
        ({"where": {"a": ()}}, r"Parquet.where\['a'\]=\(\): must name at least one value"),
        ({"categories": {"a": ("x", "x")}}, r"Parquet.categories\['a'\]=.*: must be names that differ"),
        ({"audio": {"a": (8000,)}}, r"Parquet.audio\['a'\]=\(8000,\): must be \(samples a second, seconds\)"),
        (
            {"resize": {"a": (8, 8)}},
            r"Parquet.resize\['a'\]=\(8, 8\): must be \(height, width\) of a column of images=",
        ),
    ],
)
def test_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Parquet("x.parquet", **settings)


def test_numbers_become_one_column(pets):
    settings = {"columns": ("x",), "categories": {"owner": ("ann", "bob", "eve")}, "label": None}
    source = Parquet(pets, stack={"features": ("x", "owner")}, **settings)
    assert read(source) == {"features": [[0, 0], [1, 1], [2, 0], [3, 1], [4, 0], [5, 2]]}
    normal = Parquet(pets, stack={"f": ("x", "owner")}, normalize={"f": ((1.0, 0.0), (2.0, 1.0))}, **settings).read()[
        "f"
    ]
    assert normal[3].tolist() == [1, 1]
    with pytest.raises(DataError, match="no column 'age'; there are: x, label, owner"):
        Parquet(pets, stack={"features": ("age",)}, **settings).read()
    with pytest.raises(ConfigError, match=r"Parquet.stack\['f'\]=\(\): must name the columns"):
        Parquet(pets, stack={"f": ()})


def test_only_numbers_are_stacked(tmp_path):
    pq.write_table(pa.table({"x": [[1.0, 2.0]], "label": [0]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"stack\['f'\] names column 'x' of shape \[1, 2\], not numbers \[n\]"):
        Parquet(f"{tmp_path}/t.parquet", stack={"f": ("x",)}).read()


def test_images_of_different_sizes_are_brought_to_one(tmp_path):
    sizes = [(4, 6), (8, 8)]
    files = []
    for size in sizes:
        file = io.BytesIO()
        Image.fromarray(np.full((*size, 3), 100, np.uint8)).save(file, "png")
        files.append(file.getvalue())
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"image": files, "label": [0, 1]}), path)
    read = Parquet(path, images={"image": "rgb"}, resize={"image": (2, 3)}, scale=None).read()["image"]
    assert torch.equal(read, torch.full((2, 3, 2, 3), 100, dtype=torch.uint8))


@real_data
def test_real_adult_by_occupation():
    """The official split, by a column of text that is no input."""
    settings = {"columns": ("age", "hours_per_week"), "where": {"split": ("train",)}}
    parts = Parquet("adult.parquet", **settings).split(ByColumn("occupation", ("Sales", "Exec-managerial")))
    assert [len(part.read()["label"]) for part in parts] == [3650, 4066]  # of the UCI set's documentation
