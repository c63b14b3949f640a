"""Fine-tuning: the run is the learner's, an agent's own model a few steps further."""

import pytest
import torch

import raycollab as rc

from ..contracts.support import digits, train
from .conftest import steps, trained

TUNE = rc.SGD(lr=0.1, batch_size=6, epochs=2)


def test_the_run_is_the_learners():
    assert torch.equal(trained(rc.FineTune(steps(), tune=TUNE))[0].params, trained(steps())[0].params)


def test_the_own_model_is_as_many_steps_from_the_common_one(bench):
    rule = rc.FineTune(rc.SGD(), tune=TUNE)
    own = rule.own_model(bench.problem, bench.round.vectors, {})
    update, _ = TUNE.update(bench.problem, bench.params, {}, rc.Round(1, 0, 0, bench.round.vectors))
    bench.model.load(bench.params + update.vectors["delta"])
    torch.testing.assert_close(own["6.weight"], bench.model.whole()["6.weight"])


def test_evaluating_it_changes_nothing():
    rule = rc.FineTune(rc.SGD(lr=0.1, steps=2, batch_size=8), tune=TUNE)
    exchange = rc.Exchange(exclude=("3.*",))
    often, seldom = (train(digits(rule, exchange=exchange, rounds=3, run={"eval_every": n})) for n in (1, 100))
    assert often.params.equal(seldom.params)
    assert all(
        often.remembered(name)["private"]["3.weight"].equal(seldom.remembered(name)["private"]["3.weight"])
        for name in often.driver.roster.memory
    )
    scores = often.reports[-1]
    better = [scores.personal_metrics[name]["loss"] < scores.own_metrics[name]["loss"] for name in scores.own_metrics]
    assert sum(better) >= 6


def test_adapts_a_trained_model_to_examples(bench):
    """What `TrainedModel.adapt` and `raycollab adapt` call."""
    rule, task, columns = rc.FineTune(rc.SGD(), tune=TUNE), bench.problem.task, bench.shard.columns()
    before = task.loss(bench.model.module, columns).item()
    adapted = rule.adapted(task, bench.model.module, columns)
    assert not adapted.training
    assert task.loss(adapted, columns).item() < before


@pytest.mark.parametrize("settings", [{"learner": 1, "tune": TUNE}, {"learner": rc.SGD(), "tune": rc.Moon(rc.SGD())}])
def test_refuses(settings):
    with pytest.raises(rc.ConfigError, match=r"FineTune\.(learner|tune)=.*: must be a L"):
        rc.FineTune(**settings)
