import errno
import os
import pickle
import subprocess
import sys

import pytest
from pyarrow import fs

from raycollab import storage as storage_module
from raycollab.errors import RunFolderError
from raycollab.storage import Storage


@pytest.fixture(params=["path", "file_uri", "remote"])
def storage(request, tmp_path, monkeypatch):
    """The same folder by its path, by a file URI, and behind a file system that is not local to pyarrow."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(storage_module, "_resolve", lambda uri: (remote, "a folder"))
    return Storage(
        {"path": str(folder), "file_uri": folder.as_uri(), "remote": "s3://a%20folder?region=x"}[request.param]
    )


def test_bytes_round_trip_and_replace(storage):
    storage.write_bytes("x/y.bin", b"one")
    storage.write_bytes("x/y.bin", bytes(range(256)))
    assert storage.read_bytes("x/y.bin") == bytes(range(256))
    assert storage.child("x").read_bytes("y.bin") == bytes(range(256))
    assert storage.list_files("x") == ["y.bin"]


@pytest.mark.parametrize(
    ("path", "folder", "name"),
    [("curve.png", ".", "curve.png"), ("a/b/curve.png", "a/b", "curve.png"), ("/curve.png", "/", "curve.png")],
)
def test_the_folder_of_a_file(path, folder, name):
    assert Storage.holding(path) == (Storage(folder), name)


def test_a_name_that_ends_like_a_compressed_file_changes_nothing(storage):
    storage.write_bytes("x.gz", b"plain")
    assert storage.read_bytes("x.gz") == b"plain"
    assert (os.path.getsize(storage._root + "/x.gz") if storage.is_local else 5) == 5


def test_lines_are_appended_and_a_torn_one_is_cut(storage):
    storage.append_line("log", "one")
    storage.append_line("log", "zwei ä")
    assert storage.read_bytes("log") == "one\nzwei ä\n".encode()
    storage.write_bytes("log", b"one\n{tor")
    storage.append_line("log", "two")
    assert storage.read_bytes("log") == b"one\ntwo\n"
    storage.write_bytes("log", b"torn")
    storage.append_line("log", "only")
    assert storage.read_bytes("log") == b"only\n"


def test_folders_are_made_listed_renamed_and_deleted(storage):
    storage.make_dirs("b/c")
    storage.make_dirs("b/c")
    storage.make_dirs("a")
    storage.write_bytes("file", b"")
    storage.write_bytes("b/c/inner", b"1")
    assert storage.list_dirs() == ["a", "b"]
    assert storage.list_files() == ["file"]
    assert storage.list_dirs("nowhere") == storage.list_files("nowhere") == []
    storage.rename_dir("b/c", "a/d")
    assert storage.read_bytes("a/d/inner") == b"1"
    for path in ("a", "file", "nowhere"):
        storage.delete(path)
        assert not storage.exists(path)
    assert storage.exists()
    assert storage.exists("b")


def test_exclusive_dir_is_made_once(storage):
    storage.create_exclusive_dir("deep/run-001")
    with pytest.raises(RunFolderError, match="deep/run-001") as caught:
        storage.create_exclusive_dir("deep/run-001")
    assert isinstance(caught.value.__cause__, FileExistsError)


def test_it_pickles_and_compares(storage):
    child = storage.child("x", "y z")
    child.write_bytes("f", b"1")
    again = pickle.loads(pickle.dumps(child))
    assert again == child
    assert hash(again) == hash(child)
    assert again != storage
    if storage.is_local:
        assert again.read_bytes("f") == b"1"
    else:
        assert again.uri == "s3://a%20folder/x/y%20z?region=x"


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../x"])
def test_no_path_leads_out(storage, path):
    with pytest.raises(RunFolderError, match="leads out of"):
        storage.write_bytes(path, b"")


def test_uri_is_the_absolute_path_whichever_way_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    wanted = str(tmp_path / "a b")
    for given in ("a b", "./a b/", "~/a b", wanted, f"file://{tmp_path}/a b", f"file://{tmp_path}/a%20b"):
        assert Storage(given).uri == wanted
        assert Storage(given).is_local
    assert Storage("/").child("tmp").uri == "/tmp"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("foo://x/y", "cannot open foo://x/y: Unrecognized filesystem.*expected a local path"),
        ("foo://key:secret@x/y", r"cannot open foo://\*\*\*@x/y"),
        ("file://host/x", "file:///path"),
        ("file:x", "file:///path"),
        ("", "is empty"),
    ],
)
def test_what_is_no_place_is_refused(uri, words):
    with pytest.raises(RunFolderError, match=words):
        Storage(uri)


def test_missing_file_is_named(storage):
    with pytest.raises(RunFolderError, match=r"cannot read .*a.*folder/no/such"):
        storage.read_bytes("no/such")


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    storage = Storage(str(tmp_path / "runs"))
    for action in (storage.make_dirs, storage.create_exclusive_dir, lambda path: storage.write_bytes(path + "/f", b"")):
        with pytest.raises(RunFolderError, match="runs/x"):
            action("x")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some disk space"),
        (errno.EACCES, "permissions"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "reached"),
    ],
)
def test_remedies(tmp_path, monkeypatch, number, remedy):
    """The tests may run as root, whom no permission stops, so the system call is made to fail."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    storage = Storage(str(tmp_path))
    monkeypatch.setattr(os, "fsync", refuse)
    words = rf"cannot write {tmp_path}/x: .*{os.strerror(number)}; .*{remedy}"
    with pytest.raises(RunFolderError, match=words) as caught:
        storage.write_bytes("x", b"1")
    assert os.listdir(tmp_path) == []
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), RunFolderError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="permissions"):
        Storage(str(tmp_path)).write_bytes("x", b"1")


def test_a_write_that_is_stopped_leaves_the_old_content(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    storage.write_bytes("x", b"old")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        storage.write_bytes("x", b"new")
    assert storage.read_bytes("x") == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_the_rest_of_a_killed_write_is_not_listed(tmp_path):
    (tmp_path / ".tmp-0123").write_bytes(b"half")
    assert Storage(str(tmp_path)).list_files() == []


def test_folders_that_cannot_be_synced_are_accepted_and_other_errors_are_not(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(number):
        if os.path.isdir(f"/proc/self/fd/{number}"):
            raise OSError(code, "no")
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    code = errno.EINVAL
    Storage(str(tmp_path)).write_bytes("x", b"1")
    code = errno.EIO
    with pytest.raises(RunFolderError, match="cannot write"):
        Storage(str(tmp_path)).write_bytes("x", b"1")


RACE = """
import sys
from raycollab.errors import RunFolderError
from raycollab.storage import Storage
storage = Storage(sys.argv[1])
print("ready", flush=True)
for name in sys.stdin.readline().split():
    try:
        storage.create_exclusive_dir(name)
        print(name)
    except RunFolderError:
        pass
"""


def test_of_four_processes_one_gets_the_folder(tmp_path):
    """All of them try the same 200 names at the same time."""
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    names = [str(number) for number in range(200)]
    for process in processes:
        process.stdin.write(" ".join(names) + "\n")
        process.stdin.flush()
    made = [name for process in processes for name in process.communicate(timeout=20)[0].split()]
    assert sorted(made) == sorted(names)
