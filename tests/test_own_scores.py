"""Both models of an agent are scored on the same rows; the common one without any trace of the other."""

from dataclasses import dataclass

import torch

from raycollab.data import Arrays, Shard
from raycollab.learners import SGD, Learner
from raycollab.models import MLP
from raycollab.own_scores import scored
from raycollab.params import Exchange, FlatModel
from raycollab.shared_set import SharedSet
from raycollab.task import Problem
from raycollab.tasks import Classification

TASK = Classification(MLP(3, 2, ()), 2)


@dataclass(frozen=True)
class Doubled(Learner):
    """Its own model has all parameters twice as large."""

    def update(self, problem, params, state, round):
        raise NotImplementedError

    def own_model(self, problem, vectors, state):
        problem.model.load(2 * vectors["params"], vectors["buffers"])
        return problem.model.whole()


def columns(count, seed):
    features = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return {"features": features, "label": (features[:, 0] > 0).long()}


def test_the_common_model_and_the_own_one():
    torch.manual_seed(0)
    model = FlatModel(TASK.model(), Exchange())
    shard = Shard(columns(40, 0), val_fraction=0.5, seed=0)
    test = SharedSet(Arrays(columns(30, 1)), TASK, "cpu")
    problem = Problem("a", TASK, model, shard, lambda: False)
    vectors = {"params": model.read(), "buffers": model.read_buffers()}
    plain = scored(problem, vectors, {}, SGD().own_model, test.score)
    assert plain.personal_validation.compute() == plain.personal_test.compute() == {}
    both = scored(problem, vectors, {}, Doubled().own_model, test.score)
    assert both.validation.compute() == plain.validation.compute()
    assert both.test.compute() == plain.test.compute()
    twice = scored(problem, {**vectors, "params": 2 * vectors["params"]}, {}, SGD().own_model, test.score)
    assert both.personal_validation.compute() == twice.validation.compute()
    assert both.personal_test.compute() == twice.test.compute()
    assert scored(problem, vectors, {}, Doubled().own_model, None).personal_test.compute() == {}
