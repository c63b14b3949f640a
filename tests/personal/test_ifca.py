"""IFCA: agents of two kinds part, and each model is merged of its own agents alone."""

from dataclasses import dataclass

import pytest
import torch

import raycollab as rc

from ..contracts.support import Quadratic, Training, digits, experiment, full_batch, gradient, train

SETTINGS = full_batch(0.2, 3)
CENTRES = (-4.0, 4.0, 4.0, -4.0, 4.0)


@dataclass(frozen=True)
class Somewhere(Quadratic):
    """A quadratic whose initial point is drawn."""

    def model(self):
        module = super().model()
        module.w.data.copy_(torch.randn(self.size))
        return module


def two_kinds(learner, *chain, task=Somewhere(), rounds=5, **settings):
    """Agents whose minima lie on one of two sides."""
    generator = torch.Generator().manual_seed(0)
    columns = [
        {"x": torch.randn(6, 4, generator=generator) * 0.1 + centre, "a": torch.rand(6, 4, generator=generator) + 0.5}
        for centre in CENTRES
    ]
    agents = [rc.Agent(f"agent-{i}", rc.data.Arrays(held), learner, val_fraction=0.0) for i, held in enumerate(columns)]
    test = rc.data.Arrays({"x": torch.zeros(2, 4), "a": torch.ones(2, 4)})
    return experiment(agents, *chain, task=task, test=test, rounds=rounds, **settings), columns


def loss(columns, w):
    return float((columns["a"] * (w - columns["x"]) ** 2).sum(1).mean() / 2)


def test_is_algorithm_1():
    """Every agent and both models by hand, from the models that the driver starts with."""
    rule = rc.IFCA(rc.SGD(**SETTINGS), clusters=2)
    run, columns = two_kinds(rule, rc.PerCluster(rc.Mean("uniform")))
    training = Training(run)
    models = [training.driver.vectors[name].clone() for name in ("params", "params/1")]
    assert not torch.equal(*models)
    for _ in range(5):
        deltas = ([], [])
        for held in columns:
            chosen = int(loss(held, models[1]) < loss(held, models[0]))
            w = models[chosen]
            for _ in range(3):
                w = w - 0.2 * gradient(held, w)
            deltas[chosen].append(w - models[chosen])
        models = [
            model + torch.stack(each).mean(0) if each else model for model, each in zip(models, deltas, strict=True)
        ]
    training.finish()
    for name, model in zip(("params", "params/1"), models, strict=True):
        torch.testing.assert_close(training.driver.vectors[name], model, rtol=1e-4, atol=1e-5)


def test_agents_of_two_kinds_part():
    training = train(two_kinds(rc.IFCA(rc.SGD(**SETTINGS)), rc.PerCluster())[0])
    follows = [training.remembered(f"agent-{i}")["learner"]["follows"] for i in range(5)]
    left, right = follows[0], follows[1]
    assert left != right
    assert follows == [left if centre < 0 else right for centre in CENTRES]
    assert abs(float(training.driver.vectors[left].mean()) + 4) < 0.2
    assert abs(float(training.driver.vectors[right].mean()) - 4) < 0.2


def test_equal_models_are_chosen_at_random_and_part_then():
    """Where the initial models are equal, as pretrained ones are, all losses are: the first model alone would move."""
    run, _ = two_kinds(rc.IFCA(rc.SGD(**SETTINGS), 3), rc.PerCluster(), task=Quadratic(), rounds=1)
    training = train(run)
    moved = [name for name in ("params", "params/1", "params/2") if training.driver.vectors[name].abs().sum() > 0]
    assert len(moved) >= 2


def test_a_model_that_nobody_chose_stays_as_it_is():
    run, _ = two_kinds(rc.IFCA(rc.SGD(**SETTINGS), 6), rc.PerCluster(), rounds=1)
    training = Training(run)
    before = {name: vector.clone() for name, vector in training.driver.vectors.items()}
    training.finish()
    chosen = {training.remembered(f"agent-{i}")["learner"]["follows"] for i in range(5)}
    for name in rc.IFCA(rc.SGD(), 6).models:
        assert torch.equal(training.driver.vectors[name], before[name]) == (name not in chosen)


def test_transforms_on_agents_and_rules_over_single_updates():
    chain = (rc.ClipNorm(0.5), rc.PerCluster(rc.Median()))
    done = train(digits(rc.IFCA(rc.SGD(lr=0.1, steps=2, batch_size=8)), *chain))
    assert not [failure for report in done.reports for failure in report.failures]
    assert max(agent.norm for report in done.reports for agent in report.agents) < 0.5 + 1e-5


def test_the_run_says_whose_score_is_on_the_shared_set():
    done = train(digits(rc.IFCA(rc.SGD(lr=0.1, steps=2, batch_size=8)), rc.PerCluster()))
    assert any(note.startswith("2 common models: the scores on the shared test set") for note in done.reports[0].notes)
    assert done.reports[-1].personal_metrics["agent-2"]["loss"] > 0


def test_exchanged_statistics_are_refused():
    net = rc.models.CNN(10, size=8, channels=(4, 4), hidden=8, batch_norm=True)
    task = rc.ImageClassification(net, num_classes=10)
    quorum = rc.FailureConfig(max_attempts=1)
    with pytest.raises(rc.QuorumError, match=r"IFCA has one set of exchanged buffers .* Exchange\(buffers='private'\)"):
        train(digits(rc.IFCA(rc.SGD()), rc.PerCluster(), task=task, failure=quorum))


def test_the_mean_alone_does_not_go_with_it():
    """It would merge what was learned from different models; nor does the rule go with a learner of one model."""
    with pytest.raises(rc.ConfigError, match=r"agent 'agent-0': IFCA learns one of several models, and Mean would"):
        digits(rc.IFCA(rc.SGD())).members()
    with pytest.raises(rc.ConfigError, match=r"PerCluster needs \['cluster'\], which SGD does not send"):
        digits(rc.SGD(), rc.PerCluster()).members()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learner": rc.SGD(), "clusters": 1}, r"IFCA\.clusters=1: must be >= 2: one is the learner itself"),
        ({"learner": rc.Scaffold(rc.SGD())}, r"IFCA\.learner=Scaffold.*: must need nothing of the round"),
        ({"learner": "SGD"}, r"IFCA\.learner='SGD': must be a Learner"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(rc.ConfigError, match=message):
        rc.IFCA(**settings)
