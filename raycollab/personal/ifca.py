"""IFCA: several common models, of which each agent takes part in the one that suits it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from raycollab.aggregation import CLUSTER, cluster_vector
from raycollab.errors import ModelError
from raycollab.learners import Learner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.own_model import FOLLOWS
from raycollab.rng import derive_seed
from raycollab.settings import require
from raycollab.spec import BUFFERS, PARAMS
from raycollab.task import Problem
from raycollab.types import Round, State, Update

_BATCH = 1024  # examples that are scored at once


@dataclass(frozen=True)
class IFCA(LearnerWrapper):
    """Learns the one of several common models that has the lowest loss on the agent's own training examples.

    Each round brings all models, the first as "params"; merge with `PerCluster`. An agent's own model is the newest of
    the one that it chose last. The driver learns which model an agent chose.

    Args:
        learner: Takes the steps from the chosen model.
        clusters: Number of models, >= 2. They start as different initial models; where those are equal, as pretrained
            ones are, agents choose at random first.
    Raises: ModelError where float buffers are exchanged, of which there is one set for all models.
    Source: Ghosh et al., NeurIPS 2020, arXiv 2006.04088, Algorithm 1, option II (model averaging).
    """

    learner: Learner
    clusters: int = 2

    adds = (CLUSTER,)
    remembers = True
    formula = "j = argmin_j loss_i(w_j);  steps from w_j;  w_j += mean of those that chose j"

    def __post_init__(self) -> None:
        require(isinstance(self.learner, Learner), "IFCA.learner", self.learner, "must be a Learner, such as SGD")
        simple = not self.learner.needs and not self.learner.models
        require(simple, "IFCA.learner", self.learner, "must need nothing of the round but the parameters")
        require(self.clusters >= 2, "IFCA.clusters", self.clusters, "must be >= 2: one is the learner itself")

    @property
    def models(self) -> tuple[str, ...]:  # type: ignore[override]
        """All but the first, which is "params"."""
        return self._names[1:]

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(map(cluster_vector, range(self.clusters)))

    def init(self, params: Tensor) -> State:
        """No model chosen yet."""
        return {FOLLOWS: None, "learner": self.learner.init(params)}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Choose a model, and learn from there."""
        if len(round.vectors.get(BUFFERS, params[:0])):
            raise ModelError(
                f"agent {problem.agent!r}: IFCA has one set of exchanged buffers for all its models: keep them with "
                f"the agents, Exchange(buffers='private')"
            )
        chosen = self._chosen(problem, round.vectors, round.seed_for("cluster", problem.agent))
        start = round.vectors[self._names[chosen]]
        update, learned = self.learner.update(
            problem, start, state["learner"], replace(round, vectors={**round.vectors, PARAMS: start})
        )
        update = replace(update, scalars={**update.scalars, CLUSTER: float(chosen)})
        return update, {FOLLOWS: self._names[chosen], "learner": learned}

    def own_model(self, problem: Problem, vectors: Mapping[str, Tensor], state: State) -> dict[str, Tensor] | None:
        """The one of the newest models that it chose last."""
        if state[FOLLOWS] is None:
            return None
        problem.model.load(vectors[state[FOLLOWS]], vectors.get(BUFFERS))
        return problem.model.whole()

    def _chosen(self, problem: Problem, vectors: Mapping[str, Tensor], seed: int) -> int:
        losses = [self._loss(problem, vectors[name]) for name in self._names]
        best = [index for index, loss in enumerate(losses) if loss == min(losses)]
        return best[derive_seed(seed, "among equals") % len(best)]

    def _loss(self, problem: Problem, params: Tensor) -> float:
        """Mean over the agent's training examples, in evaluation mode."""
        task, module = problem.task, problem.model.module
        problem.model.load(params)
        module.eval()
        with torch.no_grad():
            batches = problem.shard.batches("train", _BATCH, seed=None)
            counted = [(task.count(batch), float(task.loss(module, batch))) for batch in batches]
        return sum(count * loss for count, loss in counted) / max(sum(count for count, _ in counted), 1)
