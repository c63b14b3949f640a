"""A folder somewhere: on this machine, or behind any URI that pyarrow.fs opens (file, s3, gs, hdfs, ...).

Local files are written so that a kill or a power cut leaves either the old content or the new one: temporary file,
fsync, rename, fsync of the folder. Elsewhere a write is one put, and what needs a rename is not promised to be atomic.
"""

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from raycollab.errors import RunFolderError

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://|file:")
_TEMPORARY = ".tmp-"
_NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # mounted object stores cannot fsync a folder
_REMEDIES = {
    errno.ENOSPC: "free some disk space, lower CheckpointConfig.keep or choose another place with RunConfig.dir",
    errno.EACCES: "check the permissions, or choose another place with RunConfig.dir",
    errno.EROFS: "the file system is read-only: choose another place with RunConfig.dir",
    errno.ENOENT: "check the path; a relative one starts at the working directory of the process",
}
_REMEDIES |= {errno.EDQUOT: _REMEDIES[errno.ENOSPC], errno.EPERM: _REMEDIES[errno.EACCES]}
_OTHER_REMEDY = "check that the place can be reached and written to, or choose another one with RunConfig.dir"


class Storage:
    """A folder, given by a local path (`~` is expanded, a relative one made absolute) or a URI of pyarrow.fs.

    Paths given to the methods are relative to it, with "/" between their parts; none may lead out of it. It pickles
    as its URI: every process opens the file system with its own credentials.

    Raises: RunFolderError from every method, with the place and a remedy, when the file system refuses.
    """

    def __init__(self, uri: str) -> None:
        self._filesystem, self._root, self._uri = _open(uri)

    @classmethod
    def holding(cls, path: str) -> tuple["Storage", str]:
        """The folder of a file, and the file's name in it."""
        folder, slash, name = path.rpartition("/")
        return cls(folder or slash or "."), name

    @property
    def uri(self) -> str:
        """The absolute path of a local folder, whichever way it was given; else the URI."""
        return self._uri

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a file system of this machine."""
        return isinstance(self._filesystem, fs.LocalFileSystem)

    def child(self, *parts: str) -> "Storage":
        """Return the folder below this one; it need not exist."""
        path = "/".join(parts)
        below = object.__new__(Storage)
        below._filesystem, below._root = self._filesystem, self._at(path)
        below._uri = below._root if self.is_local else _extended(self._uri, path)
        return below

    def exists(self, path: str = "") -> bool:
        """Whether there is a file or folder."""
        with self._explained("look for", path):
            return self._filesystem.get_file_info(self._at(path)).type != fs.FileType.NotFound

    def read_bytes(self, path: str) -> bytes:
        """Return a file's content."""
        with (
            self._explained("read", path),
            self._filesystem.open_input_stream(self._at(path), compression=None) as file,
        ):
            return file.read()

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file and the folders above it: all of it or nothing where local, one put elsewhere."""
        full = self._at(path)
        with self._explained("write", path):
            if self.is_local:
                _make_dirs(os.path.dirname(full))
                _replace_file(full, data)
            else:
                self._put(full, data)

    def append_line(self, path: str, text: str) -> None:
        r"""Append a line and flush it; elsewhere than on local file systems this reads and rewrites the file.

        A last line without its "\n" is the rest of a killed write, and is cut off first.
        """
        line = text.encode() + b"\n"
        if not self.is_local:
            old = self.read_bytes(path) if self.exists(path) else b""
            return self.write_bytes(path, old[: old.rfind(b"\n") + 1] + line)
        with self._explained("append to", path), open(self._at(path), "a+b") as file:
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
            file.write(line)
        return None

    def sync(self, path: str) -> None:
        """Bring what was appended to a file onto the disk; elsewhere than on local file systems it is there already."""
        if self.is_local:
            with self._explained("sync", path), open(self._at(path), "rb") as file:
                os.fsync(file.fileno())

    def list_dirs(self, path: str = "") -> list[str]:
        """Return the names of the folders in a folder, sorted; none if it is not there."""
        return self._list(path, fs.FileType.Directory)

    def list_files(self, path: str = "") -> list[str]:
        """Return the names of the files in a folder, sorted, without unfinished ones; none if it is not there."""
        return [name for name in self._list(path, fs.FileType.File) if not name.startswith(_TEMPORARY)]

    def delete(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it; what is not there is deleted already."""
        with self._explained("delete", path):
            kind = self._filesystem.get_file_info(self._at(path)).type
            if kind == fs.FileType.Directory:
                self._filesystem.delete_dir(self._at(path))
            elif kind != fs.FileType.NotFound:
                self._filesystem.delete_file(self._at(path))

    def make_dirs(self, path: str = "") -> None:
        """Make a folder and those above it, where they are not there yet."""
        with self._explained("make the folder", path):
            if self.is_local:
                _make_dirs(self._at(path))
            else:
                self._filesystem.create_dir(self._at(path), recursive=True)

    def create_exclusive_dir(self, path: str) -> None:
        """Make a folder that was not there: of two processes on a local file system, one gets it.

        Elsewhere there is no such promise: the folder is looked for, then made.

        Raises: RunFolderError if it is there already.
        """
        full = self._at(path)
        with self._explained("make the folder", path):
            if self.is_local:
                _make_dirs(os.path.dirname(full))
                os.mkdir(full)
                _sync_dir(os.path.dirname(full))
            elif self.exists(path):
                raise FileExistsError(errno.EEXIST, "it exists", full)
            else:
                self._filesystem.create_dir(full, recursive=True)

    def rename_dir(self, old: str, new: str) -> None:
        """Rename a folder to a name that is free: at once and durably where local, by moving elsewhere."""
        before, after = self._at(old), self._at(new)
        with self._explained(f"rename {old} to", new):
            if self.is_local:
                os.rename(before, after)
                for parent in {os.path.dirname(before), os.path.dirname(after)}:
                    _sync_dir(parent)
            else:
                self._filesystem.move(before, after)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and other.uri == self.uri

    def __hash__(self) -> int:
        return hash(self._uri)

    def __str__(self) -> str:
        return _shown(self._uri)

    def __repr__(self) -> str:
        return f"Storage({str(self)!r})"

    def __reduce__(self) -> tuple[type["Storage"], tuple[str]]:
        return Storage, (self._uri,)

    def _at(self, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            raise RunFolderError(f"{path!r} leads out of {self}: use a path below it")
        return f"{self._root.rstrip('/')}/{parts}" if parts.parts else self._root

    def _put(self, full: str, data: bytes) -> None:
        try:
            stream = self._filesystem.open_output_stream(full, compression=None)
        except FileNotFoundError:  # object stores need no folders above a file, other file systems do
            self._filesystem.create_dir(os.path.dirname(full), recursive=True)
            stream = self._filesystem.open_output_stream(full, compression=None)
        with stream:
            stream.write(data)

    def _list(self, path: str, kind: fs.FileType) -> list[str]:
        with self._explained("list", path):
            selector = fs.FileSelector(self._at(path), allow_not_found=True)
            return sorted(info.base_name for info in self._filesystem.get_file_info(selector) if info.type == kind)

    @contextlib.contextmanager
    def _explained(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise RunFolderError(f"cannot {action} {self.child(path)}: {error}; {_remedy(error)}") from error


def _open(uri: str) -> tuple[fs.FileSystem, str, str]:
    """Return (file system, path in it, tidy URI)."""
    if not uri:
        raise RunFolderError("the place '' is empty: give a path such as runs, or a URI such as s3://bucket/runs")
    if not _URI.match(uri) or uri.startswith("file:"):
        path = _path_of_file_uri(uri) if uri.startswith("file:") else os.path.abspath(Path(uri).expanduser())
        return fs.LocalFileSystem(), path, path
    try:
        filesystem, path = _resolve(uri)
    except (OSError, pa.ArrowException) as error:
        hint = f"a local path, or a URI with one of file, s3, gs or hdfs; {_OTHER_REMEDY}"
        raise RunFolderError(f"cannot open {_shown(uri)}: {error}; expected {hint}") from error
    return filesystem, path, uri


def _resolve(uri: str) -> tuple[fs.FileSystem, str]:
    return fs.FileSystem.from_uri(uri)


def _path_of_file_uri(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise RunFolderError(f"cannot open {uri}: a file URI needs an absolute path on this machine: file:///path")
    return os.path.abspath(unquote(parts.path))


def _extended(uri: str, path: str) -> str:
    """The URI of a path below; options such as ?region=... stay at the end."""
    base, question_mark, options = uri.partition("?")
    return base.rstrip("/") + (f"/{quote(path)}" if path else "") + question_mark + options


def _shown(uri: str) -> str:
    """The URI for messages: without a password."""
    return re.sub(r"://[^/@]*@", "://***@", uri)


def _remedy(error: BaseException) -> str:
    return _REMEDIES.get(getattr(error, "errno", None) or 0, _OTHER_REMEDY)


def _replace_file(path: str, data: bytes) -> None:
    temporary = os.path.join(os.path.dirname(path), f"{_TEMPORARY}{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # a stop by the user too: the rest of a file is of no use to anybody
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_dir(os.path.dirname(path))


def _make_dirs(path: str) -> None:
    """Make the missing folders of a path, and make each durable in the one above it."""
    if os.path.isdir(path):
        return
    _make_dirs(os.path.dirname(path))
    os.makedirs(path, exist_ok=True)
    _sync_dir(os.path.dirname(path))


def _sync_dir(path: str) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NOT_FOR_FOLDERS:
            raise
    finally:
        os.close(folder)
