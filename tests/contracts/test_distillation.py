"""Agents whose models cannot be averaged: the laws of every rule, for Distill and Student, which only work together."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.determinism import seeded
from raycollab.rng import derive_seed
from raycollab.runtime.host import Host
from raycollab.tree import map_leaves

from .support import DIGITS, TEST, Quadratic, Training, experiment, train

PUBLIC, CLASSES = 40, 10
OWN = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2, batch_size=8)
DIGEST = rc.SGD(lr=0.1, steps=2, batch_size=8)
COLUMNS = rc.data.Digits("train").read()
PUBLIC_SET = rc.data.Arrays({"image": COLUMNS["image"][:PUBLIC]}, "public")  # without labels
LABELLED = rc.data.Arrays({name: column[:PUBLIC] for name, column in COLUMNS.items()}, "public with labels")
PRIVATE = rc.data.Arrays({name: column[PUBLIC:] for name, column in COLUMNS.items()}, "private")
CNN_WITH_NORM = rc.models.CNN(CLASSES, size=8, channels=(2,), hidden=4, batch_norm=True)
DISTILL, STUDENT = rc.Distill(OWN, DIGEST, PUBLIC_SET), rc.Student(DIGEST, PUBLIC_SET)


def task(hidden, name="net"):
    net = rc.models.WithConsensus(rc.models.MLP(64, CLASSES, hidden=hidden), PUBLIC, CLASSES, name)
    return replace(DIGITS, net=net)


def distillation(*chain, student=True, rounds=4, own=OWN, digest=DIGEST, learner=None, **settings):
    """Four agents with a net of their own width, and the student, whose net is the driver's."""
    learner = learner or rc.Distill(own, digest, PUBLIC_SET, temperature=2.0)
    shards = PRIVATE.split(rc.Dirichlet(0.5, num_parts=4))
    agents = [rc.Agent(f"agent-{i}", shard, learner, task=task((4 + i,))) for i, shard in enumerate(shards)]
    if student:
        agents.append(rc.Agent("student", LABELLED, rc.Student(digest, PUBLIC_SET, temperature=2.0)))
    exchange = rc.Exchange(include=("consensus", "student.*") if student else ("consensus",))
    return experiment(
        agents, *(chain or (rc.Mean("uniform"),)), task=task((16,), "student"), test=TEST, rounds=rounds,
        exchange=exchange, **settings,
    )  # fmt: skip


def test_every_agent_answers_and_all_learn():
    start = Training(distillation())
    before = start.params
    done = start.finish()
    assert not [failure for report in done.reports for failure in report.failures]
    assert not torch.equal(before, done.params)
    assert done.buffers.shape == (PUBLIC * CLASSES,)


def test_the_consensus_is_the_mean_of_what_the_agents_say():
    """Off what each remembers of its net, in plain torch; the student has no say."""
    done = train(distillation(rounds=2))
    said = []
    for name in done.driver.plan.names[:4]:
        agent = next(each for each in done.experiment.members() if each.name == name)
        module = agent.task.model()
        module.load_state_dict(done.remembered(name)["private"], strict=False)
        said.append(module(COLUMNS["image"][:PUBLIC]).detach())
    torch.testing.assert_close(done.buffers.view(PUBLIC, CLASSES), torch.stack(said).mean(0), rtol=1e-4, atol=1e-5)


def test_one_round_later_it_is_still_a_mean_and_no_sum():
    """The agents send differences; what the median makes of them is the median of what they say."""
    done = train(distillation(rc.Median(), student=False, rounds=3))
    assert done.params.shape == (0,)
    assert not [failure for report in done.reports for failure in report.failures]
    assert 0 < float(done.buffers.abs().max()) < 20


@pytest.mark.parametrize("num_hosts", [2, 5])
def test_hosts_change_nothing(num_hosts):
    assert train(distillation(), num_hosts=num_hosts).bits() == train(distillation()).bits()


def test_seed():
    assert train(distillation(run={"seed": 1})).bits() != train(distillation()).bits()


def test_restart():
    settings = {"checkpoint": rc.CheckpointConfig(every=2), "run": {"agents_per_round": 3}}
    killed = Training(distillation(**settings)).steps(3)
    resumed = Training(distillation(**settings), folder=killed.folder)
    assert resumed.driver.version == 2
    assert resumed.finish().bits() == train(distillation(**settings)).bits()


def test_what_is_private_never_leaves(monkeypatch):
    """Of the agents' nets nothing crosses, in no round."""
    crossed = []
    run = Host.run

    def watched(*arguments):
        result = run(*arguments)
        map_leaves(lambda leaf: crossed.append(leaf) if isinstance(leaf, torch.Tensor) else None, result)
        return result

    monkeypatch.setattr(Host, "run", watched)
    done = train(distillation(), num_hosts=5)
    outside = [tensor.numpy().tobytes() for tensor in crossed]
    secrets = [done.remembered(name)["private"]["net.1.weight"].numpy().tobytes() for name in done.driver.roster.memory]
    assert len(secrets) == 4
    assert not [1 for secret in secrets for data in outside if secret in data]
    assert max(len(data) for data in outside) <= 4 * max(PUBLIC * CLASSES, done.params.numel())


def test_agents_learn_from_each_other():
    """After six rounds a student that was shown 40 digits and no label knows four times what guessing does."""
    own = rc.SGD(lr=0.1, momentum=0.9, epochs=2, batch_size=16)
    digest = rc.SGD(lr=0.1, momentum=0.9, epochs=10, batch_size=8)
    done = train(distillation(own=own, digest=digest, rounds=6))
    assert done.reports[0].metrics["accuracy"] < 0.3  # as it was made: there was no consensus yet
    assert done.reports[-1].metrics["accuracy"] > 0.4


@pytest.mark.parametrize(
    "learner", [rc.Distill(OWN, DIGEST, PUBLIC_SET), rc.Student(DIGEST, PUBLIC_SET)], ids=["d", "s"]
)
def test_learners_change_no_argument(learner):
    distil = isinstance(learner, rc.Distill)
    training = Training(distillation(student=not distil))
    name = "agent-0" if distil else "student"
    live = training.pool._hosts[0]._agents[name]
    problem = rc.Problem(name, live._task, live.model, live._shard, lambda: False)
    vectors = training.driver.vectors if live._told is None else live._told.take(training.driver.vectors)
    state = learner.init(vectors["params"])
    for index in (1, 2):
        round = rc.Round(index, 0, index - 1, vectors, {"participation": 1.0})
        before = repr(map_leaves(bytes_of, [vectors, state]))
        update, after = learner.update(problem, vectors["params"], state, round)
        assert repr(map_leaves(bytes_of, [vectors, state])) == before
        assert set(update.vectors) == ({"delta", "buffers"} if distil else {"delta"})
        state = after


def bytes_of(leaf):
    return leaf.numpy().tobytes() if isinstance(leaf, torch.Tensor) else leaf


@pytest.mark.parametrize(
    ("learner", "net", "include", "message"),
    [
        (DISTILL, DIGITS.net, "*", "no exchanged buffer 'consensus'; wrap its net in models.WithConsensus"),
        (STUDENT, DIGITS.net, "*", "its model has no exchanged buffer 'consensus'"),
        (DISTILL, task((4,)).net, "*", r"Distill sends nothing but the consensus; exchanged are \['net.1.weight', "),
        (STUDENT, rc.models.WithConsensus(CNN_WITH_NORM, PUBLIC, CLASSES), "*",
         r"a Student's net cannot exchange buffers, this one has \['net.1.running_mean', .* without BatchNorm"),
        (DISTILL, rc.models.WithConsensus(DIGITS.net, PUBLIC + 1, CLASSES), "consensus",
         rf"{PUBLIC} public examples; WithConsensus.num_examples={PUBLIC + 1} needs more"),
    ],
)  # fmt: skip
def test_refuses(learner, net, include, message):
    agents = [rc.Agent("a", LABELLED, learner)]
    made = experiment(
        agents, task=replace(DIGITS, net=net), test=TEST, rounds=1, exchange=rc.Exchange(include=(include,))
    )
    with pytest.raises(rc.QuorumError, match=message):
        train(made)


def test_a_task_without_logits_says_so():
    with pytest.raises(rc.ModelError, match=r"Quadratic gives no logits, .* override Quadratic.logits"):
        Quadratic().logits(DIGITS.model(), {})


def test_batch_norm_of_agents_stays_with_them():
    net = rc.models.WithConsensus(CNN_WITH_NORM, PUBLIC, CLASSES)
    agents = [rc.Agent("a", LABELLED, DISTILL, task=replace(DIGITS, net=net))]
    done = train(experiment(agents, task=task((4,)), test=TEST, rounds=2, exchange=rc.Exchange(include=("consensus",))))
    assert not [failure for report in done.reports for failure in report.failures]
    assert float(done.remembered("a")["private"]["net.1.running_mean"].abs().max()) > 0


def test_the_reference_of_one_digestion():
    """A student's one full step is plain torch's on T^2 sum_c p_c log(p_c / q_c), averaged over the public set."""
    lr, temperature = 0.5, 2.0
    learner = rc.Student(rc.SGD(lr=lr, steps=1, batch_size=PUBLIC), PUBLIC_SET, temperature)
    training = Training(distillation())
    live = training.pool._hosts[0]._agents["student"]
    problem = rc.Problem("student", live._task, live.model, live._shard, lambda: False)
    vectors = dict(training.driver.vectors)
    vectors["buffers"] = torch.randn(PUBLIC * CLASSES, generator=torch.Generator().manual_seed(0))
    update, _ = learner.update(problem, vectors["params"], {}, rc.Round(2, 0, 1, vectors))
    with seeded(derive_seed(training.experiment.run.seed, "model")):
        module = training.experiment.task.model()
    p = (vectors["buffers"].view(PUBLIC, CLASSES) / temperature).softmax(1)
    q = (module(COLUMNS["image"][:PUBLIC]) / temperature).softmax(1)
    loss = temperature**2 * (p * (p / q).log()).sum(1).mean()
    loss.backward()
    expected = torch.cat([-lr * parameter.grad.flatten() for parameter in module.parameters()])
    torch.testing.assert_close(update.vectors["delta"], expected, rtol=1e-4, atol=1e-6)
    assert update.scalars["loss"] == pytest.approx(loss.item(), rel=1e-5)
