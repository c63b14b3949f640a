"""Parties on their own nodes: which node carries which party's label, and whether every agent finds its own."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from raycollab.errors import ConfigError

PARTY = "raycollab.io/party"  # label of the nodes of a party; an agent's name is its value
_VALUE = re.compile(r"[A-Za-z0-9]([\w.\-]{0,61}[A-Za-z0-9])?")  # what Ray and Kubernetes take for one


def check_names(names: Sequence[str]) -> None:
    """Refuse agents whose names cannot stand in a label.

    Raises: ConfigError that names the agent.
    """
    for name in names:
        if not _VALUE.fullmatch(name):
            raise ConfigError(
                f"agent {name!r}: with ScalingConfig.on_party_nodes its name is the label {PARTY} of its node: up to "
                f"63 letters, digits, '-', '_' and '.', the first and the last a letter or digit"
            )


def homes(nodes: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Addresses of the living nodes that carry each party's label."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        if (party := node.get("Labels", {}).get(PARTY)) is not None:
            found.setdefault(party, []).append(str(node.get("NodeManagerAddress", "")))
    return found


def held_twice(parties: Sequence[str], nodes: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong if two nodes say that they are one party's: only one of them has its data; empty if none do."""
    found = homes(nodes)
    twice = [f"{party} on {', '.join(found[party])}" for party in parties if len(found.get(party, ())) > 1]
    if not twice:
        return ""
    return (
        f"the label {PARTY} of a party is held by more than one node: {'; '.join(twice)}. The agent runs where its "
        f"data is, and that is one node: start the others with a label of their own, or none"
    )


def missing(parties: Sequence[str], nodes: Sequence[Mapping[str, Any]]) -> str:
    """Which parties have no node, and which labels there are; empty if all have one."""
    found = homes(nodes)
    absent = [party for party in parties if party not in found]
    if not absent:
        return ""
    there = ", ".join(f"{party} on {', '.join(found[party])}" for party in sorted(found)) or "none"
    return (
        f"no node carries the label {PARTY} of {', '.join(absent)}; labels that exist: {there}. Start it on the "
        f"party's node with `ray start --address=HEAD:6379 --labels={PARTY}={absent[0]}`"
    )
