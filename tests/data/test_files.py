"""Where files are looked for, and what is said when they are not there."""

from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raycollab.data import Explicit, Parquet, Streamed, StreamedShard
from raycollab.errors import DataError


def write(path: Path, columns: dict) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("RAYCOLLAB_DATA", raising=False)


def three_files(folder: Path) -> None:
    for index in range(3):
        write(folder / f"sub{index}" / f"part-{index}.parquet", {"x": [float(index)] * 2, "label": [index] * 2})


def test_folder_glob_and_uri(tmp_path):
    three_files(tmp_path)
    (tmp_path / "notes.txt").write_text("not data")
    write(tmp_path / "_temporary" / "x.parquet", {"other": [1]})
    read = {
        form: Parquet(form).read()["label"].tolist()
        for form in (str(tmp_path), f"{tmp_path}/sub*/*.parquet", f"file://{tmp_path}")
    }
    assert set(map(tuple, read.values())) == {(0, 0, 1, 1, 2, 2)}
    assert Parquet(f"{tmp_path}/sub[01]/part-?.parquet").read()["label"].tolist() == [0, 0, 1, 1]
    assert Parquet(f"file://{tmp_path}/sub1/*.parquet").read()["label"].tolist() == [1, 1]


@pytest.fixture
def in_memory():
    """Three files in fsspec's memory, which pyarrow reaches by a URI: no path of this machine."""
    memory = fsspec.filesystem("memory")
    for index in range(3):
        with memory.open(f"/scans/site-{index}/t.parquet", "wb") as file:
            pq.write_table(pa.table({"x": [index / 2] * 2, "label": [index] * 2}), file)
    yield "fsspec+memory://scans"
    memory.rm("/scans", recursive=True)


def test_a_file_system_that_is_not_local(in_memory, monkeypatch):
    """A folder, a glob and one file of it, whole and in a stream; a part reads its own rows."""
    monkeypatch.setenv("RAYCOLLAB_DATA", in_memory)
    for path in (in_memory, f"{in_memory}/*/t.parquet", "site-?/*.parquet"):
        assert Parquet(path).read()["label"].tolist() == [0, 0, 1, 1, 2, 2]
    one = Parquet(f"{in_memory}/site-1/t.parquet")
    assert one.read()["x"].tolist() == [0.5, 0.5]
    assert one.describe() == "fsspec+memory://scans/site-1/t.parquet"
    parts = [part.read()["x"].tolist() for part in Parquet(in_memory).split(Explicit(((0, 5), (2,))))]
    assert parts == [[0.0, 1.0], [0.5]]
    stream = StreamedShard(Streamed(Parquet(in_memory)), _everything, val_fraction=0.0, seed=0)
    batches = list(stream.batches("train", 4, seed=0))
    assert sorted(x for batch in batches for x in batch["x"].tolist()) == [0, 0, 0.5, 0.5, 1, 1]
    with pytest.raises(DataError, match=r"fsspec\+memory://scans/none.parquet: no file there"):
        Parquet(f"{in_memory}/none.parquet").read()


def _everything(columns, where):
    return torch.ones(len(columns["label"]), dtype=torch.bool)


def test_environment_and_home(tmp_path, monkeypatch):
    write(tmp_path / "set" / "t.parquet", {"label": [5]})
    monkeypatch.setenv("RAYCOLLAB_DATA", str(tmp_path / "set"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("t.parquet", "*.parquet", "$RAYCOLLAB_DATA/t.parquet", "~/set/t.parquet"):
        assert Parquet(path).read()["label"].tolist() == [5]
    monkeypatch.setenv("RAYCOLLAB_DATA", f"file://{tmp_path}/set")
    assert Parquet("t.parquet").read()["label"].tolist() == [5]


def test_the_working_folder_comes_first(tmp_path, monkeypatch):
    write(tmp_path / "t.parquet", {"label": [1]})
    write(tmp_path / "set" / "t.parquet", {"label": [2]})
    monkeypatch.setenv("RAYCOLLAB_DATA", str(tmp_path / "set"))
    monkeypatch.chdir(tmp_path)
    assert Parquet("t.parquet").read()["label"].tolist() == [1]


def test_name_with_glob_characters(tmp_path):
    assert Parquet(write(tmp_path / "a[1].parquet", {"label": [1]})).read()["label"].tolist() == [1]


def test_missing_file_says_how_to_set_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = rf"tried: {tmp_path}/mnist.parquet. RAYCOLLAB_DATA is not set.*export RAYCOLLAB_DATA=FOLDER"
    with pytest.raises(DataError, match=message):
        Parquet("mnist.parquet").read()
    monkeypatch.setenv("RAYCOLLAB_DATA", "/nowhere")
    with pytest.raises(
        DataError, match=r"tried: .*/mnist.parquet, /nowhere/mnist.parquet. RAYCOLLAB_DATA is '/nowhere'"
    ):
        Parquet("mnist.parquet").read()


def test_unset_variable_is_left_in_the_path():
    with pytest.raises(DataError, match=r"\$RAYCOLLAB_DATA/x.parquet: no file there.*RAYCOLLAB_DATA is not set"):
        Parquet("$RAYCOLLAB_DATA/x.parquet").read()


def test_empty_folder_and_unknown_scheme(tmp_path):
    with pytest.raises(DataError, match=r"no folder with .parquet files"):
        Parquet(str(tmp_path)).read()
    with pytest.raises(DataError, match=r"foo://x/y.parquet: cannot be listed: Unrecognized filesystem type"):
        Parquet("foo://x/y.parquet").read()
