"""Paths as people write them: relative to where one is, or to $RAYCOLLAB_DATA."""

import os

DATA_VARIABLE = "RAYCOLLAB_DATA"


def candidates(path: str) -> list[str]:
    """Where a path may lead, in order: with `~` and environment variables expanded; URIs stay as they are."""
    expanded = os.path.expandvars(os.path.expanduser(path))
    if "://" in expanded or os.path.isabs(expanded):
        return [expanded]
    root = os.environ.get(DATA_VARIABLE)
    here = os.path.abspath(expanded)
    return [here, f"{os.path.expanduser(root).rstrip('/')}/{expanded}"] if root else [here]


def find_folder(path: str) -> str | None:
    """The first of the candidates that is a folder of this machine."""
    return next((place for place in candidates(path) if os.path.isdir(place)), None)
