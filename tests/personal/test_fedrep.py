"""FedRep against an ordinary module of which one part after the other is trained."""

import pytest
import torch

import raycollab as rc

from ..learners.conftest import TASK, build

HEAD = rc.SGD(lr=0.2, momentum=0.9, batch_size=6, epochs=2)
BODY = rc.SGD(lr=0.1, momentum=0.9, weight_decay=0.1, batch_size=8)


def reference(problem, round):
    module = build()
    for learner, names in ((HEAD, ("6.",)), (BODY, ("0.", "4."))):
        chosen = [p for name, p in module.named_parameters() if name.startswith(names)]
        optimizer = torch.optim.SGD(chosen, lr=learner.lr, momentum=0.9, weight_decay=learner.weight_decay)
        for batch in problem.batches(round, batch_size=learner.batch_size, epochs=learner.epochs):
            module.zero_grad()
            TASK.loss(module, batch).backward()
            optimizer.step()
    return dict(module.named_parameters())


def test_first_the_head_then_the_body(private_head):
    """Weight decay would move what has no gradient: each part stays exactly where it was while the other learns."""
    bench, rule = private_head, rc.FedRep(BODY, HEAD)
    update, _ = rule.update(bench.problem, bench.params, rule.init(bench.params), bench.round)
    expected = reference(bench.problem, bench.round)
    body = torch.cat([expected[entry.name].reshape(-1) for entry in bench.model.spec.params]).detach()
    torch.testing.assert_close(bench.params + update.vectors["delta"], body, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(bench.model.private()["6.weight"], expected["6.weight"].detach(), rtol=1e-4, atol=1e-6)
    assert update.scalars["counted"] == 20 * 2 + 20
    assert update.scalars["steps"] == 3
    assert all(parameter.requires_grad for parameter in bench.model.module.parameters())


def test_one_learner_takes_both(private_head):
    bench, results = private_head, []
    for rule in (rc.FedRep(BODY), rc.FedRep(BODY, BODY)):
        bench.model.load_private(None)
        results.append(rule.update(bench.problem, bench.params, rule.init(bench.params), bench.round)[0])
    assert torch.equal(results[0].vectors["delta"], results[1].vectors["delta"])


def test_without_a_private_head_it_refuses(bench):
    rule = rc.FedRep(BODY)
    with pytest.raises(rc.ModelError, match=r"agent 'a': FedRep takes as head what is not exchanged, and all is: set"):
        rule.update(bench.problem, bench.params, rule.init(bench.params), bench.round)


def test_gradients_come_back_after_a_failure(private_head):
    rule = rc.FedRep(BODY)
    with pytest.raises(rc.UpdateError):
        rule.update(private_head.poison(), private_head.params, rule.init(private_head.params), private_head.round)
    assert all(parameter.requires_grad for parameter in private_head.model.module.parameters())


@pytest.mark.parametrize("settings", [{"learner": rc.Scaffold(rc.SGD())}, {"learner": rc.SGD(), "head": 3}])
def test_refuses(settings):
    with pytest.raises(rc.ConfigError, match=r"FedRep\.(learner|head)=.*: must be a LocalLearner"):
        rc.FedRep(**settings)
