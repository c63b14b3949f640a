"""Local fine-tuning: each agent goes on from the common model by itself, after the run and where it is evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from raycollab.data import Shard
from raycollab.learners import Learner, LocalLearner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.params import Exchange, FlatModel
from raycollab.settings import require
from raycollab.spec import BUFFERS, PARAMS
from raycollab.task import Problem, Task
from raycollab.types import Batch, Round, State, Update


@dataclass(frozen=True)
class FineTune(LearnerWrapper):
    """Learns the common model as another learner does; an agent's own model is a few steps of its own away from it.

    Nothing of these steps is kept: they are taken anew in every evaluation, always on the same batches, and by
    `TrainedModel.adapt` and `raycollab adapt` for whoever has examples.

    Args:
        learner: Learns what is sent.
        tune: Takes the steps from the common model: SGD or Optimizer.
    Source: Yu, Bagdasaryan and Shmatikov, 2020, arXiv 2002.04758, section 4.1 (fine-tuning); Cheng, Chadha and Duchi,
        2021, arXiv 2108.07313 (FTFA).
    """

    learner: Learner
    tune: LocalLearner

    formula = "own model = w - lr grad_i - ..., a few steps from the common w"

    def __post_init__(self) -> None:
        name = type(self).__name__
        require(isinstance(self.learner, Learner), f"{name}.learner", self.learner, "must be a Learner, such as SGD")
        local = isinstance(self.tune, LocalLearner)
        require(local, f"{name}.tune", self.tune, "must be a LocalLearner, such as SGD(lr=0.01, epochs=1)")

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """The learner's."""
        return self.learner.update(problem, params, state, round)

    def own_model(self, problem: Problem, vectors: Mapping[str, Tensor], state: State) -> dict[str, Tensor] | None:
        """Fine-tune the newest common model on the agent's training examples."""
        del state
        self._tuned(problem, vectors)
        return problem.model.whole()

    def adapted(self, task: Task, module: nn.Module, support: Batch) -> nn.Module:
        """Fine-tune a trained module on some examples, in place."""
        model = FlatModel(module, Exchange(), str(next(module.parameters()).device))
        shard = Shard(dict(support), val_fraction=0.0, seed=0, device=model.device)
        problem = Problem("support", task, model, shard, lambda: False)
        self._tuned(problem, {PARAMS: model.read(), BUFFERS: model.read_buffers()})
        return module.eval()

    def _tuned(self, problem: Problem, vectors: Mapping[str, Tensor]) -> None:
        params = vectors[PARAMS]
        stepper = self.tune.begin(problem.model, self.tune.init(params))
        self.tune.train(problem, params, Round(1, 0, 0, vectors), stepper.step)
