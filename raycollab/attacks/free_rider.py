"""An agent that takes the model and gives nothing."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.attacks.base import LocalAttack
from raycollab.attacks.forged import Disguised
from raycollab.learners import REPORTED, Learner
from raycollab.spec import BUFFERS, DELTA
from raycollab.task import Problem, Task
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class FreeRider(LocalAttack):
    """Does not train: sends zeros, and claims the weight of its shard, one step over it and a loss of zero.

    Shapes: [d] -> [d].
    Source: Lin et al., 2019, arXiv 1911.12560; Fraboni et al., AISTATS 2021, arXiv 2006.11901:
        the plain free-rider that returns the model as it came.
    """

    name = "free_rider"
    formula = "delta_i -> 0"

    def learner(self, learner: Learner, task: Task) -> Learner:
        """One that does nothing."""
        del task
        return Idle(learner)


@dataclass(frozen=True)
class Idle(Disguised):
    """Sends zeros in the place of what another learner would send."""

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Claim the shard's weight for nothing."""
        weight = float(problem.shard.num_examples("train"))
        names = [name for name in (DELTA, *self.sends) if name not in REPORTED]
        vectors = {name: torch.zeros_like(params) for name in names}  # a name in `sends` may be a scalar's
        buffers = round.vectors.get(BUFFERS)
        if buffers is not None and buffers.numel():
            vectors[BUFFERS] = torch.zeros_like(buffers)
        claims = {**dict.fromkeys(REPORTED, 1.0), "loss": 0.0, "counted": weight}
        others = {name: getattr(self.learner, name, 1.0) for name in self.sends if name not in claims}  # as an alpha
        scalars = {**claims, **others}
        return Update(problem.agent, weight, vectors, scalars, round.base_version), state
