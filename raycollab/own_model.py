"""What an agent keeps of a model of its own: tensors by name, and how much of each is taken instead of the common."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

OWN = "own"  # in the state of a learner: parameters and buffers by name
FOLLOWS = "follows"  # instead of it: the name of the driver's vector that is its model
SHARE = "share"  # by name: 1 is the agent's own, 0 the common one, a tensor says so for each element


def followed(state: Any) -> str | None:
    """The driver's vector that is an agent's model by the state of its learner; None if none is."""
    return state.get(FOLLOWS) if isinstance(state, Mapping) else None


def own_model(state: Any, common: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """An agent's own model beside the common one: common + share * (own - common).

    Args:
        state: What its learner remembers. Without SHARE all is its own; a name that is not in SHARE is the common one.
        common: Parameters and buffers of the common model, by name.
    Returns: None if it keeps none.
    """
    own = state.get(OWN) if isinstance(state, Mapping) else None
    if not own:
        return None
    shares = state.get(SHARE) or dict.fromkeys(own, 1.0)
    return {name: _between(tensor, own[name], shares.get(name, 0.0)) for name, tensor in common.items() if name in own}


def _between(common: Tensor, own: Tensor, share: Tensor | float) -> Tensor:
    if isinstance(share, float) and share in (0.0, 1.0):  # exactly, and also for counters, which are whole numbers
        return own if share else common
    return common + share * (own - common)
