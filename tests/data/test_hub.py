"""Data sets of the Hub by name: from a cache on this machine, from a Hub that is served here, and what is refused."""

import json
import threading
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from raycollab.data import IID, HuggingFace
from raycollab.data.hub import CONVERTED
from raycollab.errors import DataError

from .test_formats import ROWS, save_to_disk

PETS = "somebody/pets"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def parquet(*values):
    """The bytes of a Parquet file with these in column x, and a label."""
    out = BytesIO()
    pq.write_table(pa.table({"x": [float(value) for value in values], "label": [0] * len(values)}), out)
    return out.getvalue()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Writes a snapshot as huggingface_hub keeps it: blobs, links to them by commit, and the commit of a revision."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("RAYCOLLAB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def write(files, revision=CONVERTED, commit=COMMIT):
        root = tmp_path / "cache" / "datasets--somebody--pets"
        ref = root / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)
        (root / "blobs").mkdir(exist_ok=True)
        for name, content in files.items():
            blob, link = root / "blobs" / sha256(content).hexdigest(), root / "snapshots" / commit / name
            blob.write_bytes(content)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blob)

    return write


def pets(part="train", **settings):
    return HuggingFace(PETS, part=part, **settings)


def values(source):
    return source.read()["x"].tolist()


# ---- from the cache, without a network


def test_the_hubs_own_conversion(cache):
    cache({
        "default/train/0000.parquet": parquet(0, 1),
        "default/train/0001.parquet": parquet(2),
        "default/test/0000.parquet": parquet(3),
        "other/train/0000.parquet": parquet(4),
    })  # fmt: skip
    assert [values(pets(part)) for part in ("train", "test")] == [[0, 1, 2], [3]]
    assert values(pets(subset="other")) == [4]
    assert values(pets(download=True)) == [0, 1, 2]  # there is nothing to be fetched
    assert sorted(value for part in pets().split(IID(2)) for value in values(part)) == [0, 1, 2]
    assert pets().describe() == "somebody/pets/train"


@pytest.mark.parametrize(
    "names",
    [
        ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/train_extra.parquet"),
        ("train-00000-of-00002-0a1b2c.parquet", "train-00001-of-00002-3d4e5f.parquet", "train-clean.parquet"),
        ("data/train/a.parquet", "data/train/b.parquet", "data/test/a.parquet"),
    ],
)
def test_files_of_a_data_sets_own(cache, names):
    """Numbered, or in folders; files of other splits are not read."""
    cache(dict(zip(names, (parquet(0), parquet(1), parquet(2)), strict=True)), "main")
    assert values(pets()) == [0, 1]


def test_a_file_for_each_split_of_a_subset(cache):
    cache({"small/train.parquet": parquet(0), "small/test.parquet": parquet(1), "train.parquet": parquet(2)}, "main")
    assert [values(pets(subset="small")), values(pets("test", subset="small")), values(pets())] == [[0], [1], [2]]


def test_the_conversion_comes_first_and_a_revision_can_be_named(cache):
    cache({"default/train/0000.parquet": parquet(0)})
    cache({"train.parquet": parquet(1)}, "main", "f" * 40)
    assert values(pets()) == [0]
    assert [values(pets(revision=revision)) for revision in ("main", "f" * 40, CONVERTED)] == [[1], [1], [0]]


def test_a_folder_comes_before_a_name(cache, tmp_path):
    cache({"default/train/0000.parquet": parquet(0)})
    save_to_disk(tmp_path / "somebody" / "pets" / "train", ROWS)
    (tmp_path / "somebody" / "pets" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert HuggingFace(PETS, part="train", columns=("x",)).read()["x"].tolist() == [0.5, 1.5, 2.5]


# ---- from a Hub


class OneDataSet(BaseHTTPRequestHandler):
    """What huggingface_hub asks a Hub for: the commit of a revision, its files, and each of them."""

    files: dict[str, bytes]
    fetched: list[str]

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        about, inside = f"/api/datasets/{PETS}", f"/datasets/{PETS}/resolve/{COMMIT}/"
        if path == f"{about}/revision/main":
            self.answer(json.dumps({"id": PETS, "sha": COMMIT}).encode())
        elif path == f"{about}/tree/{COMMIT}":
            tree = [{"type": "file", "path": n, "size": len(c), "oid": n} for n, c in self.files.items()]
            self.answer(json.dumps(tree).encode())
        elif path.startswith(inside) and path.removeprefix(inside) in self.files:
            self.answer(self.files[path.removeprefix(inside)])
        else:
            self.answer(b"", 404, {"X-Error-Code": "RevisionNotFound"})

    do_HEAD = do_GET

    def answer(self, content, status=200, headers=None):
        self.send_response(status)
        etag = f'"{sha256(content).hexdigest()}"'
        more = {"Content-Length": str(len(content)), "ETag": etag, "X-Repo-Commit": COMMIT, **(headers or {})}
        for name, value in {"Content-Type": "application/json", **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.fetched.append(unquote(self.path))
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@contextmanager
def served(files, monkeypatch):
    """A Hub with one data set on this machine; yields what was fetched from it."""
    handler = type("Handler", (OneDataSet,), {"files": files, "fetched": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        with monkeypatch.context() as patch:
            patch.setenv("NO_PROXY", "127.0.0.1")
            patch.setattr(constants, "HF_HUB_OFFLINE", False)
            patch.setattr(constants, "ENDPOINT", endpoint)
            patch.setattr(
                constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
            )
            huggingface_hub.close_session()  # one that was made with another environment
            yield handler.fetched
        server.shutdown()
    huggingface_hub.close_session()


def test_a_split_is_fetched_where_it_is_asked_for_and_kept(cache, monkeypatch):
    """The Hub has no conversion, so its own files are taken; afterwards they are there without it."""
    files = {"README.md": b"pets", "data/train-00000-of-00001.parquet": parquet(0, 1), "data/test.parquet": parquet(2)}
    with served(files, monkeypatch) as fetched:
        with pytest.raises(DataError, match="in this machine's cache of the Hub: set download=True"):
            pets().read()
        assert not fetched
        assert values(pets(download=True)) == [0, 1]
        assert [name for name in fetched if "/resolve/" in name] == [
            f"/datasets/{PETS}/resolve/{COMMIT}/data/train-00000-of-00001.parquet"
        ]
        with pytest.raises(DataError, match=r"no Parquet files of subset='default', part='dev' had from the Hub: "):
            pets("dev", download=True).read()
    assert values(pets()) == values(pets(download=True)) == [0, 1]


# ---- what is refused


def test_a_name_that_is_not_in_the_cache(cache):
    with pytest.raises(DataError) as refused:
        pets().read()
    said = str(refused.value)
    assert said.startswith("somebody/pets: no file there, and no folder with state.json or dataset_dict.json files; ")
    assert "RAYCOLLAB_DATA is not set: put the data at one of these, or run `export RAYCOLLAB_DATA=FOLDER`" in said
    assert said.endswith(
        "; no Parquet files of subset='default', part='train' in this machine's cache of the Hub: set download=True "
        "where the Hub can be reached, or name others"
    )


def test_no_network_where_it_is_needed(cache):
    with pytest.raises(DataError, match=r"part='train' had from the Hub: .*offline.*; name others|outgoing traffic"):
        pets(download=True).read()


def test_a_split_that_is_not_in_the_cache(cache):
    cache({f"default/train/{index:04}.parquet": parquet(index) for index in range(12)})
    for part in ("", "valid"):
        with pytest.raises(DataError, match=rf"part='{part}' in .*, which has: default/train/0000.parquet, .* and 2 m"):
            pets(part).read()


def test_a_path_that_is_no_name(cache):
    for path in ("/nowhere/pets", "a/b/c", "pets/*", "file:///nowhere"):
        with pytest.raises(DataError) as refused:
            HuggingFace(path, part="train").read()
        assert "Hub" not in str(refused.value)


def test_a_damaged_file(cache):
    cache({"default/train/0000.parquet": b"PAR1junk"})
    with pytest.raises(DataError, match=r"0000.parquet: cannot be read as a data set of Hugging Face: .* cache of the"):
        pets().read()


def test_a_split_that_was_cut_off(cache):
    cache({"data/train-00000-of-00002.parquet": parquet(0)}, revision="main")
    with pytest.raises(
        DataError, match=r"cache of the Hub, which has: data/train-00000-of-00002.parquet: set download"
    ):
        pets().read()
