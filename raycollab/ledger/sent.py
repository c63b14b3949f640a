"""What an agent sent, as it keeps it for an audit."""

from typing import Any

from raycollab.types import State, Update


def kept_update(update: Update) -> State:
    """An update as a tree."""
    return {
        "weight": float(update.weight),
        "discount": float(update.discount),
        "base_version": update.base_version,
        "whole": update.coverage is None,
        "vectors": dict(update.vectors),
        "scalars": {name: float(value) for name, value in update.scalars.items()},
    }


def update_of(agent: str, kept: dict[str, Any]) -> Update:
    """The update that was kept; of an agent that exchanges all of the model."""
    return Update(
        agent, kept["weight"], kept["vectors"], kept["scalars"], kept["base_version"], discount=kept["discount"]
    )
