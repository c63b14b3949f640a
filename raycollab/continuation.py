"""Whether a run that goes on is still the run that it was."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from raycollab.config import CheckpointConfig, FailureConfig, ScalingConfig

# What may differ between a run and its continuation without changing what was computed so far.
_FREE: dict[str, tuple[str, ...]] = {
    "run": ("name", "dir", "num_rounds", "target", "patience", "eval_every", "max_harm"),
    "scaling": tuple(f.name for f in fields(ScalingConfig) if f.name not in ("threads_per_host", "agents_at_once")),
    "failure": tuple(field.name for field in fields(FailureConfig)),
    "checkpoint": tuple(f.name for f in fields(CheckpointConfig) if f.name not in ("ledger", "updates")),
}


def changed_settings(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs between two plain experiments, of what decides the bits of a run: `path: before -> after`."""
    changes: list[str] = []
    _compare(before, after, (), changes)
    return changes


def _compare(before: Any, after: Any, path: tuple[str, ...], changes: list[str]) -> None:
    if len(path) == 2 and path[1] in _FREE.get(path[0], ()):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            _compare(before.get(key), after.get(key), (*path, key), changes)
    elif (
        isinstance(before, Sequence)
        and isinstance(after, Sequence)
        and not isinstance(before, str)
        and len(before) == len(after)
    ):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            _compare(one, other, (*path, str(index)), changes)
    elif before != after:
        changes.append(f"{'.'.join(path)}: {before!r} -> {after!r}")
