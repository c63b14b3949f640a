"""Parquet: shapes, pruning, and what a damaged or unsuitable file says."""

import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raycollab.data import Dirichlet, Parquet
from raycollab.errors import ConfigError, DataError

real_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


def write(path: Path, columns: dict) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return str(path)


# ---- options


def image_file(tmp_path: Path) -> str:
    images = [bytes([0, 51, 102, 255]), bytes([255, 0, 0, 0])]
    return write(
        tmp_path / "i.parquet", {"image": pa.array(images, pa.binary(4)), "label": pa.array([3, 1], pa.int8())}
    )


def test_shapes_and_scale(tmp_path):
    path = image_file(tmp_path)
    image = Parquet(path, shapes={"image": (1, 2, 2)}).read()["image"]
    assert image.shape == (2, 1, 2, 2)
    torch.testing.assert_close(image[0], torch.tensor([[[0.0, 0.2], [0.4, 1.0]]]))
    bytes_kept = Parquet(path, shapes={"image": [2, 2]}, scale=None).read()["image"]
    assert bytes_kept.dtype == torch.uint8
    assert bytes_kept[0].tolist() == [[0, 51], [102, 255]]
    assert Parquet(path).read()["image"].dtype == torch.uint8


def test_pruning_keeps_the_label(tmp_path):
    path = write(tmp_path / "t.parquet", {"a": [1.0], "b": ["text"], "income": [1]})
    assert list(Parquet(path, columns=("a",), label="income").read()) == ["a", "label"]
    assert list(Parquet(path, columns=("a", "income"), label=None).read()) == ["a", "income"]


def test_lists_from_yaml_are_the_same_value():
    one = Parquet("x.parquet", columns=["a", "b"], shapes={"a": [1, 2]})
    two = Parquet("x.parquet", columns=("a", "b"), shapes={"a": (1, 2)})
    assert one == two
    assert hash(one) == hash(two)
    assert one != Parquet("x.parquet", columns=("a", "b"), shapes={"a": (2, 1)})
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ""}, "Parquet.path='': must name a file"),
        ({"path": "x", "scale": 0.0}, "Parquet.scale=0.0: must be > 0"),
        ({"path": "x", "columns": ()}, r"Parquet.columns=\(\): must name a column"),
        ({"path": "x", "columns": "age"}, "Parquet.columns='age': must be a list"),
        (
            {"path": "x", "shapes": {"image": (0, 28)}},
            r"Parquet.shapes\['image'\]=\(0, 28\): must be whole numbers >= 1",
        ),
    ],
)
def test_refuses_settings(options, message):
    with pytest.raises(ConfigError, match=message):
        Parquet(**options)


def test_splitting_reads_nothing():
    assert len(Parquet("nowhere.parquet").split(Dirichlet(0.5, 4))) == 4


# ---- errors


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"x": [1.0]}, {}, "no column 'label'; there are: x; write label=null if there are no labels"),
        ({"x": [1.0], "label": [1]}, {"columns": ("y", "z")}, "no column 'y', 'z'; there are: x, label$"),
        ({"x": [1.0], "label": [1]}, {"shapes": {"image": (1,)}}, "no column 'image'; there are: x, label"),
        (
            {"a": [1.0], "city": ["Rome"], "when": pa.array([0], pa.date32()), "label": [1]},
            {},
            r"not numbers: 'city' \(string\), 'when' \(date32\[day\]\); leave them out with columns=\('a', 'label'\)",
        ),
        ({"x": pa.array([[[1]]]), "label": [1]}, {}, r"not numbers: 'x' \(list"),
        ({"x": pa.array(["a"]).dictionary_encode(), "label": [1]}, {}, r"not numbers: 'x' \(dictionary"),
        (
            {"x": pa.array([[1, 2], [3]]), "label": [1, 2]},
            {},
            "column 'x': row 1 holds 1 values and others hold 2; lists must",
        ),
        ({"x": pa.array([[1, 2], None]), "label": [1, 2]}, {}, "column 'x': row 1 is null"),
        ({"x": pa.array([[1, 2], [3, None]]), "label": [1, 2]}, {}, "column 'x': row 1 is null, and int64 has no NaN"),
        ({"x": pa.array([b"ab", None], pa.binary(2)), "label": [1, 2]}, {}, "column 'x': row 1 is null"),
        (
            {"label": pa.array([0, 1, None, 3])},
            {},
            "column 'label': row 2 is null, and int64 has no NaN; fill it or drop the row",
        ),
        ({"label": pa.array([2**64 - 1], pa.uint64())}, {}, "holds 18446744073709551615, which does not fit int64"),
        ({"label": pa.array([], pa.int64())}, {}, r"0 rows in 1 file\(s\)"),
        (
            {"x": pa.array([[1, 2]]), "label": [1]},
            {"shapes": {"x": (3, 1)}},
            r"shapes\['x'\]=\(3, 1\) holds 3 values, but an example has 2",
        ),
        ({"y": [1], "label": [1]}, {"label": "y"}, "'y' is to be renamed to 'label', which exists"),
    ],
)
def test_refuses_files(tmp_path, columns, options, message):
    path = write(tmp_path / "t.parquet", columns)
    with pytest.raises(DataError, match=message) as caught:
        Parquet(path, **options).read()
    assert "t.parquet" in str(caught.value)


def test_files_of_different_types(tmp_path):
    write(tmp_path / "a.parquet", {"x": [1.0], "label": [1]})
    write(tmp_path / "b.parquet", {"x": [1], "label": [1]})
    message = r"b.parquet: columns differ from .*a.parquet: x int64, label int64 and x double, label int64; name those"
    with pytest.raises(DataError, match=message):
        Parquet(str(tmp_path)).read()
    write(tmp_path / "b.parquet", {"y": [1.0], "x": [1.0], "label": [1]})
    with pytest.raises(DataError, match=r"b.parquet: columns differ"):
        Parquet(str(tmp_path)).read()
    assert Parquet(str(tmp_path), columns=("x",)).read()["x"].tolist() == [1.0, 1.0]


def test_files_may_order_their_columns_differently(tmp_path):
    coded = [pa.array(values).dictionary_encode() for values in ([7, 8], [8, 9])]
    write(tmp_path / "a.parquet", {"x": [1.0, 2.0], "y": [3.0, 4.0], "label": coded[0]})
    schema = pa.schema([pa.field("y", pa.float64(), nullable=False), ("x", pa.float64()), ("label", coded[1].type)])
    pq.write_table(pa.table([[5.0, 6.0], [7.0, 8.0], coded[1]], schema=schema), tmp_path / "b.parquet")
    columns = Parquet(str(tmp_path)).read()
    assert {key: column.tolist() for key, column in columns.items()} == {
        "x": [1, 2, 7, 8],
        "y": [3, 4, 5, 6],
        "label": [7, 8, 8, 9],
    }


def test_column_that_stands_twice(tmp_path):
    pq.write_table(pa.table([[1], [2], [3]], names=["x", "x", "label"]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: holds two columns 'x'"):
        Parquet(str(tmp_path)).read()


def test_corrupt_bytes_anywhere(tmp_path):
    """Junk, an empty file, a truncated file and a flipped page each give a DataError that names the file."""
    rng = np.random.default_rng(0)
    whole = Path(write(tmp_path / "whole.parquet", {"x": rng.random(2000), "label": list(range(2000))})).read_bytes()
    middle = len(whole) // 3
    damaged = [
        b"",
        b"junk" * 50,
        whole[: len(whole) // 2],
        whole[:-6] + b"\xff" * 2 + whole[-4:],
        b"\0" * middle + whole[middle:],
    ]
    for index, data in enumerate(damaged):
        path = tmp_path / f"damaged{index}.parquet"
        path.write_bytes(data)
        with pytest.raises(
            DataError, match=rf"damaged{index}.parquet: cannot be read as Parquet: .*copy or write the file again"
        ):
            Parquet(str(path)).read()


# ---- real data


@real_data
def test_real_mnist():
    columns = Parquet("mnist_test10k.parquet", shapes={"image": (1, 28, 28)}).read()
    assert columns["image"].shape == (10_000, 1, 28, 28)
    assert (columns["image"].min(), columns["image"].max()) == (0.0, 1.0)
    assert abs(columns["image"].mean() - 0.1325) < 1e-3  # published mean of the test set
    assert torch.bincount(columns["label"]).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]  # published
    parts = Dirichlet(0.3, num_parts=8).assign(columns)
    assert sorted(np.concatenate(parts).tolist()) == list(range(10_000))


@real_data
def test_real_adult_needs_pruning():
    numeric = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
    columns = Parquet("adult.parquet", columns=numeric).read()
    assert {key: column.shape[0] for key, column in columns.items()} == dict.fromkeys((*numeric, "label"), 48_842)
    assert int(columns["label"].sum()) == 11_687  # >50K of the UCI set
    with pytest.raises(DataError, match="'workclass' \\(large_string\\)"):
        Parquet("adult.parquet").read()


@real_data
def test_real_credit_default():
    columns = Parquet("credit_default.parquet").read()
    assert len(columns) == 25
    assert int(columns["label"].sum()) == 6_636  # 22.12 % of 30,000
