"""A run as a folder, and the states that it can be continued from.

    runs/run-001/  experiment.yaml  journal.jsonl  result.json  rounds.parquet  agents.parquet  report.txt  model/
                   checkpoints/000010/{state.safetensors, state.json, agents/NAME.safetensors}

A checkpoint is written in three steps: `begin_checkpoint` empties a staging folder; the agents' processes write
their states into the Storage that it returns; `commit_checkpoint` adds the driver's state and makes all of it the
checkpoint at once. On local file systems the staging folder is `checkpoints/.tmp-000010` and the commit a rename.
Elsewhere files are put into `checkpoints/000010` directly, state.json last; without it a folder is no checkpoint.
Tensors are safetensors and the rest is JSON: reading a run folder runs nobody's code.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import safetensors.torch
from safetensors import SafetensorError

from raycollab.errors import RunFolderError
from raycollab.storage import Storage
from raycollab.tables import parquet_of
from raycollab.tree import Tree, seal, unseal

_JOURNAL = "journal.jsonl"
_CHECKPOINTS = "checkpoints"
_TENSORS = "state.safetensors"
_SEAL = "state.json"
_LONGEST_NAME = 200  # file systems stop at 255 bytes
Witness = Callable[[Storage], None]  # is shown the files of a checkpoint before it counts


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; `create` makes a new one, `open` finds one that is there. One driver writes, anybody reads.

    Raises: RunFolderError from every method when a file is missing, damaged, or cannot be written.
    """

    storage: Storage

    @classmethod
    def create(cls, dir: str, name: str = "") -> "RunFolder":
        """Make the folder `name`, or the next free `run-NNN`, in `dir`; one that is there already is refused."""
        parent = Storage(dir)
        while True:
            chosen = name or _next_name(parent.list_dirs() + parent.list_files())
            try:
                parent.create_exclusive_dir(chosen)
                return cls(parent.child(chosen))
            except RunFolderError as error:
                if not parent.exists(chosen):
                    raise
                if name:  # else another process took this number at the same moment: take the next one
                    path = parent.child(name)
                    remedy = f"continue it with `raycollab resume {path}`, or choose another name with --run.name"
                    raise RunFolderError(f"run folder {path} exists already: {remedy}") from error

    @classmethod
    def open(cls, path: str) -> "RunFolder":
        """Find a run's folder by its path or URI; it is one if it holds an experiment.yaml."""
        storage = Storage(path)
        if not storage.exists("experiment.yaml"):
            what = "has no experiment.yaml" if storage.exists() else "does not exist"
            remedy = "give the folder of one run, such as runs/run-001"
            raise RunFolderError(f"{storage} is not a run folder: it {what}; {remedy}")
        return cls(storage)

    @property
    def path(self) -> str:
        """The folder's absolute path or its URI."""
        return self.storage.uri

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.partition("?")[0].rstrip("/").rpartition("/")[2]

    def write_text(self, name: str, text: str) -> None:
        """Write a file, all of it or nothing."""
        self.storage.write_bytes(name, text.encode())

    def read_text(self, name: str) -> str:
        """Return a file's text."""
        with _damaged(f"{self.storage.child(name)}", "restore it from a copy"):
            return self.storage.read_bytes(name).decode()

    def write_json(self, name: str, value: object) -> None:
        """Write plain values as JSON; nan and infinities survive, as Python writes them."""
        self.write_text(name, _json(value, name, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """Return what `write_json` wrote."""
        with _damaged(f"{self.storage.child(name)}", "restore it from a copy"):
            return json.loads(self.read_text(name))

    def append(self, row: dict[str, Any]) -> None:
        """Add a committed round to the journal; the row names it as "round"."""
        if type(row.get("round")) is not int:
            raise RunFolderError(f"journal row with round={row.get('round')!r}: every row needs the round's number")
        self.storage.append_line(_JOURNAL, _json(row, _JOURNAL))

    def rows(self) -> list[dict[str, Any]]:
        """Return the journal's rows; a torn last line, of a killed run, never was."""
        lines = self.storage.read_bytes(_JOURNAL).split(b"\n")[:-1] if self.storage.exists(_JOURNAL) else []
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                rows.append(row | {"round": int(row["round"])})
            except (ValueError, TypeError, KeyError) as error:
                if number < len(lines):
                    what = f"line {number} of {self.storage.child(_JOURNAL)} is damaged: {error}"
                    raise RunFolderError(f"{what}; delete it and the lines after it, then resume") from error
        return rows

    def truncate(self, last_round: int) -> None:
        """Forget the journal's rounds after `last_round`, all at once."""
        if self.storage.exists(_JOURNAL):
            kept = [row for row in self.rows() if row["round"] <= last_round]
            self.write_text(_JOURNAL, "".join(_json(row, _JOURNAL) + "\n" for row in kept))

    def begin_checkpoint(self, round_index: int) -> Storage:
        """Clear what a killed run left of this round's staging, and return the Storage for the agents' states."""
        staging = self._staging(round_index)
        self.storage.delete(staging)
        self.storage.make_dirs(f"{staging}/agents")
        return self.agents_storage(round_index)

    def agents_storage(self, round_index: int) -> Storage:
        """Where the agents' states go between `begin_checkpoint` and `commit_checkpoint`; read by `agents_of`."""
        return self.storage.child(self._staging(round_index), "agents")

    def commit_checkpoint(
        self, round_index: int, state: Tree, *, keep: int | None = None, witness: Witness = lambda staged: None
    ) -> None:
        """Make the driver's state and the agents' states that are there the checkpoint of this round, at once.

        It replaces an older one of the same round. With `keep` it also prunes. A witness sees all files before.
        """
        staging, final, old = self._staging(round_index), _folder(round_index), _folder(round_index, ".old-")
        data, text = _sealed(state, round_index, f"the state of round {round_index}", inside=False)
        self.storage.write_bytes(f"{staging}/{_TENSORS}", data)
        self.storage.write_bytes(f"{staging}/{_SEAL}", text.encode())
        witness(self.storage.child(staging))
        if staging != final:
            if self.storage.exists(final):  # a kill from here on leaves the old one to be found as .old-
                self.storage.delete(old)
                self.storage.rename_dir(final, old)
            self.storage.rename_dir(staging, final)
        if keep is not None:
            self.prune(round_index, keep=keep)

    def abandon_checkpoint(self, round_index: int) -> None:
        """Delete what was written of a checkpoint that cannot be committed."""
        self.storage.delete(self._staging(round_index))

    def latest_checkpoint(self) -> tuple[int, Tree] | None:
        """Return (round, driver's state) of the newest checkpoint that is whole, or None if there is none at all.

        A damaged one is skipped with a warning. Tensors come back on the CPU.
        """
        damages = []
        for round_index in reversed(self.checkpoints()):
            try:
                state = self.load_checkpoint(round_index)
            except RunFolderError as error:
                damages.append(str(error))
            else:
                for damage in damages:
                    warnings.warn(f"{damage}; falling back to round {round_index}", stacklevel=2)
                return round_index, state
        if damages:
            raise RunFolderError(f"no checkpoint of {self.storage} is whole: {'; '.join(damages)}; start another run")
        return None

    def agents_of(self, round_index: int) -> Storage:
        """Where the agents' states of a committed checkpoint are read, with `load_state`."""
        return self.checkpoint_of(round_index).child("agents")

    def checkpoint_of(self, round_index: int) -> Storage:
        """Where a committed checkpoint is."""
        return self.storage.child(self._folder_of(round_index))

    def write_tables(self, **tables: list[dict[str, Any]]) -> None:
        """Write NAME.parquet for each table: columns in the order in which they come up, null where missing."""
        for name, rows in ((f"{name}.parquet", rows) for name, rows in tables.items()):
            self.storage.write_bytes(name, parquet_of(rows, self.storage.child(name)))

    def _staging(self, round_index: int) -> str:
        return _folder(round_index, ".tmp-" if self.storage.is_local else "")

    def _folder_of(self, round_index: int) -> str:
        """The folder of a committed round: under its own name, or under .old- if its replacement was killed."""
        final, old = _folder(round_index), _folder(round_index, ".old-")
        return old if not self.storage.exists(final) and self.storage.exists(old) else final

    def checkpoints(self) -> list[int]:
        """The rounds with a committed checkpoint, whole or not, in order."""
        names = [name.removeprefix(".old-") for name in self.storage.list_dirs(_CHECKPOINTS)]
        rounds = {int(name) for name in names if re.fullmatch(r"\d{6,}", name)}
        if self.storage.is_local:  # a rename made them, so a missing state.json is damage
            return sorted(rounds)
        return [index for index in sorted(rounds) if self.storage.exists(f"{_folder(index)}/{_SEAL}")]

    def load_checkpoint(self, round_index: int) -> Tree:
        """Return the driver's state of one checkpoint; tensors come back on the CPU."""
        folder = self._folder_of(round_index)
        with _damaged(f"checkpoint {self.storage.child(folder)}", "it is skipped"):
            text = self.storage.read_bytes(f"{folder}/{_SEAL}").decode()
            return unseal(safetensors.torch.load(self.storage.read_bytes(f"{folder}/{_TENSORS}")), text, round_index)

    def prune(self, round_index: int, *, keep: int) -> None:
        """Leave the newest `keep` of this round's checkpoint and those before it. Later rounds are not its business."""
        kept = [index for index in self.checkpoints() if index <= round_index][-keep:]
        for name in self.storage.list_dirs(_CHECKPOINTS):
            match = re.fullmatch(r"(?:\.tmp-|\.old-)?(\d{6,})", name)
            folder, index = f"{_CHECKPOINTS}/{name}", int(match[1]) if match else round_index + 1
            if index <= round_index and not (index in kept and folder == self._folder_of(index)):
                self.storage.delete(folder)


def save_state(storage: Storage, name: str, state: Tree) -> None:
    """Write what an agent remembers as one safetensors file; the skeleton and a sha256 stand in its metadata.

    Args:
        storage: What `begin_checkpoint` or `agents_storage` returned; it pickles, so any process can write.
        name: The agent's name, of any characters.
        state: A tree of raycollab.tree.
    """
    data, _ = _sealed(state, name, f"the state of agent {name!r}", inside=True)
    storage.write_bytes(_file_name(name), data)


def load_state(storage: Storage, name: str) -> Tree | None:
    """Return what `save_state` wrote for this agent, with tensors on the CPU, or None if it wrote nothing.

    Raises: RunFolderError if the file is damaged or another agent's.
    """
    file = _file_name(name)
    if not storage.exists(file):
        return None
    data = storage.read_bytes(file)
    with _damaged(f"{storage.child(file)}", f"delete this file to let agent {name!r} start afresh"):
        length = int.from_bytes(data[:8], "little")  # safetensors: 8 bytes of header length, the JSON header, the data
        text = json.loads(data[8 : 8 + length])["__metadata__"]["raycollab"]
        return unseal(safetensors.torch.load(data), text, name)


def copy_state(source: Storage, target: Storage, name: str) -> None:
    """Take what one checkpoint has of an agent into another that has nothing of it."""
    file = _file_name(name)
    if source.exists(file) and not target.exists(file):
        target.write_bytes(file, source.read_bytes(file))


def _file_name(name: str) -> str:
    """The percent-encoded name; a long one is cut and ends in "+", which no encoded name holds, and its hash."""
    safe = quote(name, safe="", errors="surrogatepass")
    if len(safe) > _LONGEST_NAME:
        safe = f"{safe[: _LONGEST_NAME - 65]}+{hashlib.sha256(safe.encode()).hexdigest()}"
    return f"{safe}.safetensors"


def _next_name(taken: list[str]) -> str:
    numbers = (re.fullmatch(r"run-(\d+)", name) for name in taken)
    return f"run-{max((int(match[1]) for match in numbers if match), default=0) + 1:03d}"


def _folder(round_index: int, prefix: str = "") -> str:
    return f"{_CHECKPOINTS}/{prefix}{round_index:06d}"


def _sealed(state: Tree, of: int | str, what: str, *, inside: bool) -> tuple[bytes, str]:
    """Return the safetensors file of a state and its seal, which also stands in the file's metadata if `inside`."""
    try:
        tensors, text = seal(state, of)
        return safetensors.torch.save(tensors, metadata={"raycollab": text} if inside else None), text
    except (TypeError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise RunFolderError(f"cannot keep {what} as safetensors and JSON: {type(error).__name__}: {error}") from error


def _json(value: object, name: str, indent: int | None = None) -> str:
    try:
        return json.dumps(value, indent=indent)
    except (TypeError, ValueError) as error:
        raise RunFolderError(f"{name}: {error}; use plain Python values, such as tensor.item()") from error


@contextmanager
def _damaged(what: str, remedy: str) -> Iterator[None]:
    """Say what was being read when its content did not make sense."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise RunFolderError(f"{what} is damaged: {type(error).__name__}: {error}; {remedy}") from error
