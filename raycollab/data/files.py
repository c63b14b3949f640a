"""Finding files: local paths, folders, globs and pyarrow.fs URIs, with $RAYCOLLAB_DATA as the place to look next."""

import os
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import pyarrow as pa
from pyarrow import fs

from raycollab.errors import DataError
from raycollab.places import candidates, remedy


def find_files(path: str, suffix: str | tuple[str, ...]) -> tuple[fs.FileSystem, list[str]]:
    """Return the file system and the sorted files that a path means.

    Args:
        path: A file, a folder (its files with the suffix, at any depth), a glob or a URI. `~` and environment variables
            are expanded; a relative path that does not exist is also looked for under $RAYCOLLAB_DATA.
        suffix: What counts as data in a folder, e.g. ".parquet"; or several.

    Raises:
        DataError: Nothing is there; names the places tried.
    """
    tried = candidates(path)
    try:
        for candidate in tried:
            filesystem, place = _locate(candidate)
            files = _list(filesystem, place, suffix)
            if files:
                return filesystem, files
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be listed: {error}") from error
    shown = suffix if isinstance(suffix, str) else " or ".join(suffix)
    raise DataError(
        f"{path}: no file there, and no folder with {shown} files; tried: {', '.join(tried)}. {remedy('the data')}"
    )


def stamp_of(path: str, suffix: str | tuple[str, ...]) -> str:
    """Name, size and time of change of the files that a path means: another text once one of them has changed.

    Raises: DataError if nothing is there.
    """
    filesystem, files = find_files(path, suffix)
    infos = [filesystem.get_file_info(file) for file in files]
    return "; ".join(f"{info.path} {info.size} {info.mtime_ns}" for info in infos)


def _locate(candidate: str) -> tuple[fs.FileSystem, str]:
    if "://" in candidate:
        filesystem, place = fs.FileSystem.from_uri(candidate)
        return filesystem, place
    return fs.LocalFileSystem(), os.path.abspath(candidate)


def _list(filesystem: fs.FileSystem, place: str, suffix: str | tuple[str, ...]) -> list[str]:
    found = filesystem.get_file_info(place)
    if found.type == fs.FileType.Directory:
        inside = filesystem.get_file_info(fs.FileSelector(place, recursive=True))
        return sorted(info.path for info in inside if info.is_file and _is_data(info.path, place, suffix))
    if found.type != fs.FileType.NotFound:
        return [place]
    return _glob(filesystem, place) if any(mark in place for mark in "*?[") else []


def _is_data(path: str, folder: str, suffix: str | tuple[str, ...]) -> bool:
    """Whether a file counts: hidden and temporary names (`.x`, `_x`) do not, as everywhere around Parquet."""
    below = path[len(folder) :].strip("/").split("/")
    return path.endswith(suffix) and not any(name.startswith((".", "_")) for name in below)


def _glob(filesystem: fs.FileSystem, pattern: str) -> list[str]:
    """Match component by component, so that `*` stops at a slash on every file system."""
    wanted = PurePosixPath(pattern).parts
    fixed = next(i for i, part in enumerate(wanted) if any(mark in part for mark in "*?["))
    folder = str(PurePosixPath(*wanted[:fixed]))
    selector = fs.FileSelector(folder, allow_not_found=True, recursive=len(wanted) - fixed > 1)
    paths = [info.path for info in filesystem.get_file_info(selector) if info.is_file]
    return sorted(path for path in paths if _matches(PurePosixPath(path).parts, wanted))


def _matches(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return len(parts) == len(wanted) and all(fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=True))
