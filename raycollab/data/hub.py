"""Data sets of the Hugging Face Hub by name: the Parquet files of a split, in this machine's cache or fetched."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

from raycollab.errors import DataError

CONVERTED = "refs/convert/parquet"  # where the Hub keeps what it makes of any data set that it can read
DEFAULT = "default"  # what the Hub calls the one subset of a data set that has no others
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FORMS = ("{}/*.parquet", "{}-[0-9]*-of-*.parquet", "{}.parquet")  # a folder a split, numbered files, or one file
_OF = re.compile(r"-of-(\d+)\.parquet$")
_MAX_LISTED = 10


def is_name(path: str) -> bool:
    """Whether a path may be a name of the Hub: NAME or OWNER/NAME."""
    return _NAME.fullmatch(path) is not None


def split_files(name: str, *, subset: str, part: str, revision: str, download: bool) -> list[str]:
    """The Parquet files of a split, in the order of their names.

    What is in this machine's cache is taken as it is. Of the revisions the Hub's own conversion to Parquet comes first;
    it is cut off where a data set is very large, and then its splits are called partial-...

    Args:
        name: Of the data set.
        subset: What the Hub calls a configuration, or a subset.
        part: The split.
        revision: A branch, tag or commit; empty takes the Hub's conversion, or else the files on its main branch.
        download: Fetch what is not in the cache.
    Raises: DataError saying what is there, and what to do.
    """
    revisions = (revision,) if revision else (CONVERTED, "main")
    reason, others = "", set[str]()
    for local in (True, False) if download else (True,):
        for each in revisions:
            patterns = list(_patterns(subset, part, each))
            try:
                folder = Path(_snapshot(name, each, patterns, local))
            except (OSError, ValueError, RuntimeError) as error:
                reason = reason if local else " ".join(str(error).split())
                continue
            there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))
            found = next(filter(None, ([f for f in there if fnmatchcase(f, pattern)] for pattern in patterns)), [])
            if found and not (reason := _missing(found)):
                return [str(folder / file) for file in found]
            others.update(there)
    what = f"Parquet files of subset={subset!r}, part={part!r}"
    if download:
        raise DataError(f"no {what} had from the Hub: {reason or 'it has none'}{_listed(others)}; name others")
    remedy = "set download=True where the Hub can be reached, or name others"
    raise DataError(f"no {what} in this machine's cache of the Hub{_listed(others)}: {remedy}")


def _missing(files: list[str]) -> str:
    """What is wrong with files that are numbered, as NAME-00000-of-00002.parquet, if some are not there."""
    numbered = _OF.search(files[0])
    return f"{len(files)} of {int(numbered[1])} files" if numbered and int(numbered[1]) != len(files) else ""


def _snapshot(name: str, revision: str, patterns: list[str], local: bool) -> str:
    """The folder of a revision, in which these files are whole."""
    hub: Any = import_module("huggingface_hub")  # half a second that other sources need not pay
    settings = {"repo_type": "dataset", "revision": revision, "allow_patterns": patterns, "local_files_only": local}
    return str(hub.snapshot_download(name, **settings))


def _patterns(subset: str, part: str, revision: str) -> Iterator[str]:
    """Names that the files of a split may have."""
    folders = [f"{subset}/"]
    if subset == DEFAULT and revision != CONVERTED:
        folders += ["", "data/"]
    return (folder + form.format(part) for folder in folders for form in _FORMS)


def _listed(files: set[str]) -> str:
    some = ", ".join(sorted(files)[:_MAX_LISTED])
    more = f" and {len(files) - _MAX_LISTED} more" if len(files) > _MAX_LISTED else ""
    return f", which has: {some}{more}" if files else ""
