"""Local-only training: as if nobody else took part, and nothing leaves."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.alone import Alone
from raycollab.runtime.host import Host

from .contracts.support import Training, digits, train

SGD = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2, batch_size=8)

LEARNERS = (SGD, rc.Scaffold(rc.SGD(lr=0.1, steps=2, batch_size=8)), rc.Prox(SGD, mu=0.1))


def by_itself(experiment, name):
    """A run of one agent of an experiment and nobody else."""
    (agent,) = (agent for agent in experiment.members() if agent.name == name)
    return train(replace(experiment, agents=rc.Parties((agent,)), chain=(rc.Mean(),), run=alone_run(experiment)))


def alone_run(experiment):
    return replace(experiment.run, agents_per_round=None)


@pytest.mark.parametrize(
    "learner", [SGD, rc.Scaffold(rc.SGD(lr=0.1, steps=2, batch_size=8)), rc.Prox(SGD, mu=0.1)], ids=repr
)
def test_an_agent_ends_where_a_run_of_it_alone_ends(learner):
    """Momentum, control variates and all: the only difference is who else is there."""
    experiment = digits(learner, rounds=3)
    done = train(rc.local_only(experiment))
    single = by_itself(experiment, "agent-2")
    own = done.remembered("agent-2")["learner"]["own"]
    flat = torch.cat([own[entry.name].reshape(-1) for entry in single.driver.offer.spec.params])
    torch.testing.assert_close(flat, single.params, rtol=1e-5, atol=1e-6)
    scores, alone = single.reports[-1].own_metrics["agent-2"], done.reports[-1].personal_metrics["agent-2"]
    assert alone["loss"] == pytest.approx(scores["loss"], rel=1e-4)


def test_nothing_is_sent_and_the_common_model_stays():
    sent = []
    run = Host.run

    class Watched(Host):
        def run(self, *arguments):
            result = run(self, *arguments)
            sent.extend(node.partial.vectors for node in result.nodes if node.partial is not None)
            return result

    training = Training(rc.local_only(digits(SGD)))
    training.pool._hosts = {place: _of(host, Watched) for place, host in training.pool._hosts.items()}
    start = training.params.clone()
    training.finish()
    assert sent
    assert not any(sent)
    assert torch.equal(training.params, start)


def _of(host, kind):
    host.__class__ = kind
    return host


def test_a_model_that_is_tuned_at_the_end_is_tuned_alone_too():
    tune = rc.SGD(lr=0.2, batch_size=8)
    plain, tuned = (
        train(rc.local_only(digits(learner))).reports[-1].personal_metrics["agent-2"]["loss"]
        for learner in (SGD, rc.FineTune(SGD, tune=tune))
    )
    assert tuned != plain


def test_private_parameters_are_learned_too():
    done = train(rc.local_only(digits(SGD, exchange=rc.Exchange(exclude=("3.*",)))))
    state = done.remembered("agent-1")
    assert torch.equal(state["learner"]["own"]["3.weight"], state["private"]["3.weight"])


def test_it_is_the_same_experiment_but_for_what_is_exchanged():
    experiment = digits(
        SGD, rc.ClipNorm(1.0), rc.Median(), rounds=7, run={"agents_per_round": 3, "target": "accuracy>=0.9"}
    )
    attacked = replace(experiment, attack=rc.Attack("sign_flip", num_agents=2), upload=rc.Quantize(8))
    alone = rc.local_only(attacked)
    assert (alone.run.num_rounds, alone.run.agents_per_round, alone.run.target) == (7, 3, None)
    assert alone.chain == (rc.Mean("uniform"),)
    assert alone.upload is None
    assert not alone.attack
    assert [agent.learner for agent in alone.members()] == [Alone(SGD)] * 8
