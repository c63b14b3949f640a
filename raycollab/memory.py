"""What an agent remembers: its state after each of the last two rounds, in memory that nobody else writes into."""

from typing import Any

from torch import Tensor

from raycollab.errors import UpdateError
from raycollab.params import FlatModel
from raycollab.tree import has_leaves, map_leaves
from raycollab.types import State


class Memory:
    """States by the round that made them: of the round that is under way, and of the one that it started from.

    Args:
        model: Scratch space, which the next agent overwrites: what lies in it is copied.
    """

    def __init__(self, model: FlatModel):
        self.model = model  # another one, once it has grown
        self.states: dict[int, State] = {}

    def kept(self, last_round: int) -> int:
        """The newest round up to a committed one that is remembered: an earlier one after a loss, or 0."""
        return max((index for index in self.states if index <= last_round), default=0)

    def state(self, kept: int) -> State | None:
        """What is remembered of a round; None if that is nothing."""
        return self.states.get(kept)

    def keep(self, index: int, kept: int, state: State) -> None:
        """Remember the state after a round, and still that of the one that it started from."""
        self.states = {**({kept: self.states[kept]} if kept else {}), index: state}

    def remember(self, index: int, kept: int, state: dict[str, Any], *, form: int, who: str, may: bool) -> bool:
        """Keep the state of this round and of the one that it started from, if there is any.

        Args:
            index: The round.
            kept: The other one; 0 if nothing was remembered.
            state: The state.
            form: Of a model that grows, which it is of.
            who: What errors call the agent.
            may: Whether it said that it remembers something.
        Raises: UpdateError for state of one that did not.
        """
        anything = has_leaves(state)
        if not kept and not anything:
            return False
        if not may:
            raise UpdateError(
                f"{who} returns state, but says remembers=False: its next round may be on another host; set "
                f"remembers=True in its class"
            )
        self.keep(index, kept, {**state, "form": form} if form and anything else state)
        return True

    def restore(self, last_round: int, state: State) -> None:
        """Remember this of a committed round; its vectors are moved to where the agent computes."""
        device = self.model.device
        self.states = {last_round: map_leaves(lambda leaf: leaf.to(device) if _is_vector(leaf) else leaf, state)}

    def own(self, tree: Any) -> Any:
        """The tree with copies of what lies in the model's memory."""
        model = self.model

        def owned(leaf: Any) -> Any:
            return leaf.clone() if isinstance(leaf, Tensor) and model.is_scratch(leaf) else leaf

        return map_leaves(owned, tree)


def _is_vector(leaf: Any) -> bool:
    """Whether a leaf is a tensor with elements; optimizers keep their step counts, which are not, on the CPU."""
    return isinstance(leaf, Tensor) and leaf.ndim > 0
