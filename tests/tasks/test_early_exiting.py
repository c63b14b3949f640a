"""Classification at every exit: the loss, who decides, and agents that hold the net up to an exit."""

import pickle

import pytest
import torch
from torch.nn import functional

import raycollab as rc
from raycollab.errors import ConfigError
from raycollab.models import MLP, Checkpointed, EarlyExits, UpTo
from raycollab.params import FlatModel
from raycollab.recipe import from_plain, to_plain
from raycollab.tasks import EarlyExiting

NET = EarlyExits(MLP(6, 3, (8, 8)), ("2", "4"))
PLAIN = rc.Classification(NET, 3)
BATCH = {"features": torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), "label": torch.arange(12) % 3}


def every(model):
    return model(BATCH["features"], every=True)


def cross_entropies(model):
    return [functional.cross_entropy(logits, BATCH["label"]) for logits in every(model)]


@pytest.mark.parametrize("weights", [(), (0.5, 0.0, 2.0)])
def test_the_loss_is_the_weighted_sum_over_exits(weights):
    model = PLAIN.model()
    expected = sum(w * loss for w, loss in zip(weights or (1, 1, 1), cross_entropies(model), strict=True))
    torch.testing.assert_close(EarlyExiting(PLAIN, weights=weights).loss(model, BATCH), expected)


def test_an_agent_with_fewer_exits_uses_the_first_weights():
    task = EarlyExiting(PLAIN, weights=(0.5, 0.0, 2.0)).with_net(UpTo("4").of)
    model = task.model()
    torch.testing.assert_close(task.loss(model, BATCH), 0.5 * cross_entropies(model)[0])


def test_exits_learn_from_each_other():
    """By hand, over the six pairs of three exits; the teacher's side gets no gradient."""
    model = PLAIN.model()
    made = [logits.softmax(1) for logits in every(model)]
    pairs = [(b.detach() * (b.detach().log() - a.log())).sum(1).mean() for a in made for b in made if a is not b]
    expected = sum(cross_entropies(model)) + 0.2 * sum(pairs) / 6
    found = EarlyExiting(PLAIN, distil=0.2).loss(model, BATCH)
    torch.testing.assert_close(found, expected)
    names = [name for name, _ in model.named_parameters()]
    wanted, given = (
        torch.autograd.grad(each, list(model.parameters()), retain_graph=True) for each in (expected, found)
    )
    for name, one, other in zip(names, given, wanted, strict=True):
        torch.testing.assert_close(one, other, msg=name)


def sure_of(probabilities):
    """A model whose exits have these probabilities of class 0 for each example; the two others share the rest."""

    class Exits(torch.nn.Module):
        shares = {"2": 0.25, "4": 0.5, "end": 1.0}  # noqa: RUF012

        def forward(self, inputs, *, every=False):
            p = torch.tensor(probabilities)[..., None]
            return list(torch.cat([p, (1 - p) / 2, (1 - p) / 2], 2).log())

    return Exits()


def test_the_first_exit_that_is_sure_decides():
    """Four examples: sure at once, at the second exit, only at the end, and never."""
    model = sure_of([[0.95, 0.6, 0.1, 0.4], [0.2, 0.9, 0.6, 0.4], [0.1, 0.1, 0.99, 0.1]])
    batch = {"features": torch.zeros(4, 6), "label": torch.zeros(4, dtype=torch.int64)}
    task = EarlyExiting(PLAIN, threshold=0.9)
    found = task.predict(model, batch)
    assert found["exit"].tolist() == [0, 1, 2, 2]
    assert found["prediction"].tolist() == [0, 0, 0, 1]
    torch.testing.assert_close(found["probability"], torch.tensor([0.95, 0.9, 0.99, 0.45]))
    metrics = task.statistics(model, batch).compute()
    assert metrics["share_run"] == (0.25 + 0.5 + 1 + 1) / 4
    assert metrics["accuracy"] == 3 / 4
    assert [metrics[f"accuracy_of_exit[{name}]"] for name in ("2", "4", "end")] == [3 / 4, 3 / 4, 1 / 4]
    assert EarlyExiting(PLAIN, threshold=1.0).predict(model, batch)["exit"].tolist() == [2, 2, 2, 2]


def test_with_threshold_1_the_last_exit_decides_however_sure_others_are():
    """A float32 softmax reaches 1.0."""
    model = sure_of([[1.0], [1.0], [0.2]])
    batch = {"features": torch.zeros(1, 6), "label": torch.zeros(1, dtype=torch.int64)}
    assert EarlyExiting(PLAIN, threshold=1.0).predict(model, batch)["exit"].tolist() == [2]


def test_what_is_approved_is_the_same_for_all_depths():
    task = EarlyExiting(PLAIN, weights=(1, 1, 2), distil=0.1)
    short = task.with_net(UpTo("2").of)
    prints = [each.fingerprint(FlatModel(each.model(), rc.Exchange(), whole=False).spec) for each in (task, short)]
    assert prints[0].loss == prints[1].loss == "cross_entropy at every exit, weights (1, 1, 2), distilled 0.1"
    assert prints[0].metrics == prints[1].metrics
    prints[1].check_offer(prints[0], "short")


def test_agents_of_three_depths(tmp_path):
    """The one that holds least learns the first exit alone; all are part of one model."""
    net = EarlyExits(MLP(64, 10, (32, 32)), ("2", "4"))
    task = EarlyExiting(rc.ImageClassification(net, 10), threshold=0.5)
    population = rc.Split(
        rc.data.Digits("train"), rc.IID(num_parts=3), (rc.SGD(lr=0.1),), holds=(None, UpTo("4"), UpTo("2"))
    )
    run, local = rc.RunConfig(num_rounds=8, dir=str(tmp_path), eval_every=8), rc.ScalingConfig(pool="local")
    test = rc.data.Digits("test")
    result = rc.fit(population, rc.Mean(), test=test, task=task, run=run, scaling=local)
    accuracies = [result.metrics[f"accuracy_of_exit[{name}]"] for name in ("2", "4", "end")]
    assert min(accuracies) > 0.7
    assert 0.2 < result.metrics["share_run"] < 1
    short = rc.load(result.path, agent="party-2")
    assert [name for name, _ in short.module.named_parameters()] == [
        "net.1.weight", "net.1.bias", "exits.2.weight", "exits.2.bias",
    ]  # fmt: skip
    assert short.evaluate(test).compute()["accuracy"] == pytest.approx(accuracies[0])
    cut = result.model().part(UpTo("2"))
    assert cut.evaluate(test).compute()["accuracy"] == pytest.approx(accuracies[0])


def test_it_learns_by_itself_and_is_a_value():
    task = EarlyExiting(PLAIN, 0.5, [1, 1, 1])
    assert not task.tells_losses
    assert pickle.loads(pickle.dumps(task)) == from_plain(to_plain(task)) == task
    inside = rc.Classification(Checkpointed(NET, blocks=("net.1",)), 3)
    assert EarlyExiting(inside, weights=(1, 1, 1)).num_classes == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": rc.Classification(MLP(6, 3), 3)}, "EarlyExiting.task.net=MLP.*: must be EarlyExits"),
        ({"task": rc.Regression(NET)}, "EarlyExiting.task=.*: must be a Classification such as"),
        ({"threshold": 0.0}, r"EarlyExiting.threshold=0.0: must be in \(0, 1\]"),
        ({"threshold": 1.5}, r"EarlyExiting.threshold=1.5: must be in \(0, 1\]"),
        ({"distil": -1.0}, "EarlyExiting.distil=-1.0: must be >= 0"),
        ({"weights": (1, 1)}, r"EarlyExiting.weights=\(1, 1\): must be 3 numbers >= 0, .* of exits 2, 4 and the end"),
        ({"weights": (1, 1, -1)}, "must be 3 numbers >= 0"),
        ({"weights": (0, 0, 0)}, "the first > 0"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        EarlyExiting(**{"task": PLAIN, **settings})
