"""Where a net's first weights come from, and under which license."""

import re
from pathlib import Path

from raycollab.models.pretrained import Pretrained
from raycollab.models.transformers import Transformers
from raycollab.places import find_folder

_LICENSE = re.compile(r"^license: *(\S+)", re.MULTILINE)


def origin(net: object) -> str:
    """Name of the model that a recipe starts from, with its license if its folder says so; empty for fresh weights."""
    while net is not None and not isinstance(net, Transformers | Pretrained):
        net = vars(net).get("net")  # of a recipe that wraps another
    if isinstance(net, Pretrained):
        return f"{net.path} (license unknown: ask whoever trained it)"
    if net is None or not net.pretrained or not net.name:
        return ""
    card = Path(find_folder(net.name) or "", "README.md")
    found = _LICENSE.search(card.read_text(errors="replace").partition("\n---\n")[0]) if card.is_file() else None
    return f"{net.name} (license {found[1]})" if found else f"{net.name} (license unknown: ask whoever trained it)"
