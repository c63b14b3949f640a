"""What an agent scores on its own data: the common model, and beside it the one of its own, if it has any."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from raycollab.metrics import Statistics
from raycollab.spec import BUFFERS, PARAMS
from raycollab.task import Problem
from raycollab.types import OwnScores, State

_BATCH = 1024
OwnModel = Callable[[Problem, Mapping[str, Tensor], State], dict[str, Tensor] | None]


def scored(
    problem: Problem,
    vectors: Mapping[str, Tensor],
    state: State,
    own_model: OwnModel,
    on_test: Callable[[nn.Module], Statistics] | None,
) -> OwnScores:
    """Score vectors on an agent's validation split and its own test set, then its own model.

    Args:
        problem: Its model holds the agent's private part, and is overwritten.
        vectors: The common ones, as far as the agent holds them.
        state: What the learner remembers.
        own_model: The learner's.
        on_test: Scores a module on the agent's test set, if it has one.
    """
    problem.model.load(vectors[PARAMS], vectors.get(BUFFERS))
    common = _scores(problem, on_test)
    own = own_model(problem, vectors, state)
    if own is None:
        return OwnScores(*common)
    problem.model.load_whole(own)
    return OwnScores(*common, *_scores(problem, on_test))


def _scores(problem: Problem, on_test: Callable[[nn.Module], Statistics] | None) -> tuple[Statistics, Statistics]:
    module = problem.model.module
    validation = problem.task.evaluate(module, problem.shard.batches("val", _BATCH, seed=None))
    return validation, on_test(module) if on_test else Statistics.empty()
