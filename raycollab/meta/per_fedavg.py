"""Per-FedAvg: a common start from which each party is one step away from its own model."""

from dataclasses import dataclass

from torch import Tensor

from raycollab.meta.descent import OneRate
from raycollab.meta.episodes import Episode
from raycollab.meta.functional import Functional, Parameters
from raycollab.settings import require

HESSIANS = ("none", "difference")


@dataclass(frozen=True, kw_only=True)
class PerFedAvg(OneRate):
    """Local steps on a party's loss after one step of its own, merged as FedAvg does, with `Mean("uniform")`.

    `lr` is the paper's alpha, `outer` its beta, `outer_steps` its tau, and `tasks` a `PartyTask` whose support is the
    batch D and whose query is D'.

    Args:
        hessian: "none" leaves the Hessian out (FO); "difference" takes its product from two more gradients (HF).
        delta: Length of that difference's step along the gradient, > 0.
    Source: Fallah et al., NeurIPS 2020, arXiv 2002.07948, Algorithm 1 and equations 7 to 9. The Hessian is that of D,
        as in MAML, where the paper draws a third batch D''.
    """

    episodes: int = 1
    hessian: str = "none"
    delta: float = 1e-3

    formula = "v = gradient of L' at w - lr * gradient of L(w);  HF: v - lr * (grad L(w + d v) - grad L(w - d v)) / 2 d"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.hessian in HESSIANS, "PerFedAvg.hessian", self.hessian, f"must be one of {HESSIANS}")
        require(self.delta > 0, "PerFedAvg.delta", self.delta, "must be > 0")
        one = self.steps == 1 or self.hessian == "none"
        require(one, "PerFedAvg.steps", self.steps, "must be 1 with hessian='difference'")

    def outer_gradient(self, model: Functional, params: Parameters, episode: Episode) -> tuple[Tensor, Parameters]:
        """The query's gradient after the step, less the Hessian's part."""
        support, query = episode
        adapted = self.adapt(model, params, support)
        loss, gradient = model.gradients(lambda at: model.loss(at, query), adapted)
        if self.hessian == "none":
            return loss, gradient

        def shifted(sign: float) -> Parameters:
            lengths = {name: sign * self.delta * self.factor(name) for name in params}
            there = {name: tensor + lengths[name] * gradient[name] for name, tensor in params.items()}
            return model.gradients(lambda at: model.loss(at, support), there)[1]

        ahead, behind, scale = shifted(1.0), shifted(-1.0), self.lr / (2 * self.delta)
        return loss, {name: tensor - scale * (ahead[name] - behind[name]) for name, tensor in gradient.items()}
