"""FedBABU: the head stays as it began, and evaluation tunes a copy."""

import pytest
import torch

import raycollab as rc

BODY = rc.SGD(lr=0.1, momentum=0.9, weight_decay=0.1, batch_size=8)
TUNE = rc.SGD(lr=0.05, batch_size=8)
RULE = rc.FedBABU(BODY, tune=TUNE)


def test_the_head_stays_as_it_began(private_head):
    bench = private_head
    first = bench.model.private()
    update, _ = RULE.update(bench.problem, bench.params, RULE.init(bench.params), bench.round)
    assert all(torch.equal(tensor, first[name]) for name, tensor in bench.model.private().items())
    assert update.vectors["delta"].norm() > 0.01


def test_it_is_the_body_of_a_run_whose_head_takes_no_steps(private_head):
    """The first step's gradient of the body is that of plain SGD, whose head has not moved yet either."""
    bench, one = private_head, rc.SGD(lr=0.1, steps=1, batch_size=8)
    rule = rc.FedBABU(one, tune=TUNE)
    update, _ = rule.update(bench.problem, bench.params, rule.init(bench.params), bench.round)
    plain, _ = one.update(bench.problem, bench.params, {}, bench.round)
    torch.testing.assert_close(update.vectors["delta"], plain.vectors["delta"])


def test_its_own_model_is_tuned_in_body_and_head(private_head):
    bench = private_head
    vectors = bench.round.vectors
    own = RULE.own_model(bench.problem, vectors, RULE.init(bench.params))
    bench.model.load_private(None)
    again = RULE.own_model(bench.problem, vectors, RULE.init(bench.params))
    assert all(torch.equal(own[name], again[name]) for name in own)
    bench.model.load_private(None)
    bench.model.load(bench.params)
    before = bench.model.whole()
    assert all(not torch.equal(own[name], before[name]) for name in ("0.weight", "6.weight"))


def test_without_a_private_head_it_refuses(bench):
    with pytest.raises(rc.ModelError, match="FedBABU takes as head what is not exchanged"):
        RULE.update(bench.problem, bench.params, RULE.init(bench.params), bench.round)


def test_refuses_a_learner_that_takes_no_steps():
    with pytest.raises(rc.ConfigError, match=r"FedBABU\.learner=.*: must be a LocalLearner"):
        rc.FedBABU(rc.Scaffold(rc.SGD()), tune=TUNE)
