"""FedMD: agents whose models cannot be averaged learn from what all of them say of a public set."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from raycollab.data import Source
from raycollab.errors import ModelError
from raycollab.learners.base import Learner
from raycollab.learners.public import consensus_place, public_columns, say, soft_problem
from raycollab.settings import require
from raycollab.spec import BUFFERS
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class Distill(Learner):
    """Digests the consensus on a public set, learns from its own data, and sends its logits of the public set.

    Nothing of its parameters travels, so that every agent may bring a net of its own: a task whose net is a
    `WithConsensus`. The consensus is that buffer: agents send the difference to it, `Mean("uniform")` makes their mean
    of it. The driver's model learns through a `Student` among the agents.

    Args:
        learner: Learns from the agent's own data.
        digest: Learns from the consensus; from the second round.
        public: The public set, the same for all; its labels are not looked at.
        temperature: T of both softmaxes, > 0.
    Shapes: sends p public examples of c logits each, in the place of [d] parameters.
    Raises: ModelError for a model without a consensus, or of which more than that is exchanged; DataError for a public
        set that is too small.
    Source: Li and Wang, FedMD, 2019, arXiv 1910.03581, Algorithm 1, without its transfer learning on public labels.
        There each round draws its public examples, and digesting takes the mean absolute error of logits; here they are
        the first ones, and the loss is that of FedDF, Lin et al., NeurIPS 2020, arXiv 2006.07242, equation 2.
    """

    learner: Learner
    digest: Learner
    public: Source
    temperature: float = 1.0

    compares_outputs: ClassVar[bool] = True
    formula = "consensus_x = mean_i logits_i(x);  digest: T^2 KL(softmax(consensus_x / T) || softmax(logits_i(x) / T))"

    def __post_init__(self) -> None:
        accepted = "must be a Learner, such as SGD"
        require(isinstance(self.learner, Learner), "Distill.learner", self.learner, accepted)
        alone = f"{accepted}, that needs nothing of the round: what it would send stays here"
        require(isinstance(self.digest, Learner) and not self.digest.needs, "Distill.digest", self.digest, alone)
        require(0 < self.temperature < math.inf, "Distill.temperature", self.temperature, "must be > 0 and finite")

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the learner."""
        return self.learner.needs

    @property
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner sends."""
        return self.learner.sends

    def init(self, params: Tensor) -> State:
        """Those of both learners."""
        return {"learner": self.learner.init(params), "digest": self.digest.init(params)}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Digest, learn, and say what it thinks now."""
        place, spec = consensus_place(problem), problem.model.spec
        if spec.num_params or len(spec.buffers) > 1:
            names = [entry.name for entry in (*spec.params, *spec.buffers)]
            raise ModelError(f"agent {problem.agent!r}: Distill sends nothing but the consensus; exchanged are {names}")
        digested = state["digest"]
        if round.base_version > 0:
            soft = soft_problem(problem, self.public, round, self.temperature)
            apart = replace(round, seed=round.seed_for("digest"))
            _, digested = self.digest.update(soft, params, state["digest"], apart)
        update, learned = self.learner.update(problem, params, state["learner"], round)
        logits = say(problem, public_columns(problem, self.public, place.shape[0]))
        update = update.with_vectors(**{BUFFERS: logits.flatten() - round.vectors[BUFFERS]})
        return update, {"learner": learned, "digest": digested}
