"""Copies of one honest agent."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.aggregation import Rows
from raycollab.attacks.base import Collusion
from raycollab.errors import ConfigError
from raycollab.types import State


@dataclass(frozen=True)
class Mimic(Collusion):
    """All bad agents send what one honest agent sends: no rule can tell them from it, and its data counts too much.

    Args:
        target: Whom to copy; empty chooses the honest agent that stands out most along the direction in which honest
            deltas of the first round vary most, for the whole run. A round without the target chooses for itself.
    Shapes: [k, d] -> [d]; memory [k, k].
    Raises: ConfigError if the target is no honest agent.
    Source: Karimireddy et al., ICLR 2022, arXiv 2006.09365, the mimic attack: z is the top eigenvector of the
        deltas' covariance, the target argmax_i |<z, delta_i>|. The paper sums both over warm-up rounds; here that is
        the first round alone.
    """

    target: str = ""

    name = "mimic"
    formula = "delta_bad = delta_t, t = argmax_i |<z, delta_i>|, z = top eigenvector of cov(delta)"

    def check(self, num_agents: int, num_bad: int, honest: Sequence[str]) -> None:
        """Raise ConfigError for a target that is not there."""
        if self.target and self.target not in honest:
            raise ConfigError(
                f"Attack.target={self.target!r}: must be one of the honest agents {', '.join(honest)}, or '' to choose"
            )

    def init(self) -> State:
        """The target that was given, if any."""
        return {"target": self.target}

    def plan(self, deltas: Rows, agents: Sequence[str], state: State) -> tuple[int, State]:
        """The target's row; the first time it is chosen."""
        if state["target"] in agents:
            return agents.index(state["target"]), state
        row = _most_telling(deltas)
        return row, state if state["target"] else {"target": agents[row]}

    def forge(self, honest: Rows, num_bad: int, chosen: int) -> Tensor:
        """The target's vector."""
        return honest.vectors[chosen]


def _most_telling(rows: Rows) -> int:
    """Row of the largest |<z, x_i>| for the top eigenvector z of the covariance, through inner products alone."""
    gram = rows.gram()  # [k, k] of x_i, x_j
    centred = gram - gram.mean(0)  # of x_i - mean, x_j
    covariance = centred - centred.mean(1, keepdim=True)
    top = torch.linalg.eigh(covariance).eigenvectors[:, -1]  # z is their sum with these shares, up to its length
    return int((top @ centred).abs().argmax())
