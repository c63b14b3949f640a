"""What meta-learners have in common: outer steps, episodes, those that diverge, and both ways to work through them."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.errors import ModelError, RoundStopped, UpdateError
from raycollab.meta import ANIL, CAVIA, FOMAML, MAML, FewShot, MetaSGD, PartyTask, PerFedAvg, ProtoNet, Reptile
from raycollab.models import MLP, WithContext, WithRates
from raycollab.params import Exchange, FlatModel
from raycollab.task import Problem
from raycollab.types import Round

from .conftest import Bench, Curved, Point, Quadratic

ONE = {"tasks": PartyTask(3, 4), "episodes": 1}
DIGITS = rc.Shard(rc.data.Digits("train").read(), val_fraction=0.0, seed=0)
MANY = {"tasks": FewShot(3, 2, 4), "episodes": 5, "outer_steps": 2, "outer": rc.SGD(lr=0.1)}
NET = MLP(64, 3, hidden=(16,))
LEARNERS = [
    (MAML(lr=0.1, steps=2, **MANY), NET),
    (FOMAML(lr=0.1, steps=2, **MANY), NET),
    (Reptile(lr=0.1, steps=2, **MANY), NET),
    (ANIL(lr=0.1, head=("3.*",), **MANY), NET),
    (MetaSGD(**MANY), WithRates(NET, 0.05)),
    (CAVIA(lr=0.1, **MANY), WithContext(MLP(69, 3, hidden=(16,)), 5)),
    (PerFedAvg(lr=0.1, hessian="difference", **MANY), NET),
    (ProtoNet(**MANY), NET),
]


def learned(learner, net, shard=DIGITS, index=1, exchange=None, stop=lambda: False):
    """Update of an agent with digits, and its model afterwards."""
    torch.manual_seed(0)
    task = rc.ImageClassification(net, 3)
    model = FlatModel(task.model(), exchange or Exchange())
    params, problem = model.read(), Problem("a", task, model, shard, stop)
    return learner.update(problem, params, learner.init(params), Round(index, 7, 0, {"params": params}))[0], model


@pytest.mark.parametrize(("learner", "net"), LEARNERS, ids=lambda value: type(value).__name__)
def test_together_or_one_by_one_is_the_same(learner, net):
    """To 1e-5, and it moves."""
    one, many = (learned(replace(learner, vectorised=way), net)[0] for way in (False, True))
    torch.testing.assert_close(one.vectors["delta"], many.vectors["delta"], rtol=1e-5, atol=1e-5)
    assert one.vectors["delta"].norm() > 1e-3
    assert one.scalars == pytest.approx(many.scalars)
    assert set(one.scalars) == set(learner.sends)


@pytest.mark.parametrize("vectorised", [False, True])
def test_episodes_that_diverge_are_left_out(vectorised):
    """One row in twenty is no number: its episodes are dropped and counted, the rest is learned from."""
    bench = Bench(Quadratic())
    bench.columns["features"][0] = torch.nan
    learner = MAML(lr=0.1, tasks=PartyTask(3, 4), episodes=8, max_dropped=0.9, vectorised=vectorised)
    good = []
    for number in range(8):
        episode = bench.episode(learner, number)
        if not any(part["features"].isnan().any() for part in episode):
            good.append(learner.outer_gradient(bench.functional(), bench.start, episode)[1]["w"])
    assert 0 < len(good) < 8
    update = bench.update(learner)
    assert update.scalars["dropped"] == 8 - len(good)
    torch.testing.assert_close(update.vectors["delta"], -torch.stack(good).mean(0).float(), rtol=1e-5, atol=1e-6)


def test_too_many_episodes_diverge(quadratic):
    """1 - lr * a is -1e200: the third step is beyond float64."""
    message = r"agent 'a': 1 of 1 episodes diverged in round 1, max_dropped=0\.1; lower lr=1e\+200 or steps=3 or the"
    with pytest.raises(UpdateError, match=message):
        quadratic.update(MAML(lr=1e200, steps=3, **ONE))


def test_a_run_whose_episodes_diverge_ends(tmp_path):
    """Every agent fails, and the round's error says why."""
    learner = MAML(lr=1e30, steps=3, tasks=PartyTask(4, 4))
    shards = rc.data.Digits("train").split(rc.IID(2))
    task = rc.ImageClassification(MLP(64, 10, hidden=(8,)), 10)
    with pytest.raises(rc.QuorumError, match=r"of 4 episodes diverged in round 1, max_dropped=0\.1; lower lr=1e\+30"):
        rc.fit(
            [rc.Agent(f"a{i}", shard, learner) for i, shard in enumerate(shards)],
            rc.Mean(),
            test=rc.data.Digits("test"),
            task=task,
            run=rc.RunConfig(num_rounds=2, dir=str(tmp_path)),
            scaling=rc.ScalingConfig(pool="local"),
        )


def test_outer_steps_go_on_from_each_other(quadratic):
    """Two steps of a round, each with an episode of its own, by hand."""
    learner = MAML(lr=0.1, outer_steps=2, outer=rc.SGD(lr=0.5), **ONE)
    update, start = quadratic.update(learner), quadratic.params.double()
    w = start
    for number in range(2):
        episode = quadratic.episode(learner, number)
        w = w - 0.5 * learner.outer_gradient(quadratic.functional(), {"w": w}, episode)[1]["w"]
    torch.testing.assert_close(update.vectors["delta"], (w - start).float())
    assert [update.scalars[name] for name in ("steps", "counted", "dropped")] == [2, 14, 0]


def test_any_outer_optimizer(quadratic):
    """Adam's first step is its rate, whatever the gradient; clipping bounds that of SGD; state is kept."""
    adam = MAML(lr=0.1, outer=rc.Optimizer("Adam", {"lr": 0.01}, keep_state=True), **ONE)
    torch.testing.assert_close(quadratic.update(adam).vectors["delta"].abs(), torch.full((2,), 0.01))
    assert adam.remembers
    assert not MAML(lr=0.1).remembers
    clipped = MAML(lr=0.1, outer=rc.SGD(lr=1.0, max_grad_norm=0.5), **ONE)
    assert quadratic.update(clipped).vectors["delta"].norm() == pytest.approx(0.5, rel=1e-4)


def test_episodes_have_an_address(quadratic):
    """The same round brings the same bits, another round other ones."""
    deltas = [quadratic.update(MAML(lr=0.1, **ONE), index).vectors["delta"] for index in (1, 1, 2)]
    assert torch.equal(deltas[0], deltas[1])
    assert not torch.equal(deltas[0], deltas[2])


def test_private_parameters_learn_and_stay():
    """They move as if they were exchanged; the delta is the others' alone."""
    learner = LEARNERS[0][0]
    (whole, common), (part, own) = (learned(learner, NET, exchange=e) for e in (None, Exchange(exclude=("3.*",))))
    assert torch.equal(part.vectors["delta"], whole.vectors["delta"][: len(part.vectors["delta"])])
    assert torch.equal(own.private()["3.weight"], common.module.get_parameter("3.weight"))


class Counter(Point):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, center):
        self.calls += 1
        return super().forward(center)


class Counting(Quadratic):
    def model(self):
        return Counter()


def test_buffers_stay():
    """What the module counts in its buffers is no difference."""
    bench = Bench(Counting())
    assert bench.update(MAML(lr=0.1, **ONE)).vectors["buffers"].tolist() == [0.0]
    assert bench.model.read_buffers().tolist() == [0.0]


def test_more_ways_than_outputs():
    message = r"MAML\.tasks=.*: ways=5 classes are more than the task's num_classes=3: lower ways, or give the net"
    with pytest.raises(ModelError, match=message):
        learned(MAML(lr=0.1, tasks=FewShot(5, 1, 1)), NET)


class Dropping(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3), torch.nn.Dropout(0.5))

    def forward(self, images):
        return self.layers(images)


def test_what_cannot_be_taken_together_says_so():
    """Dropout draws for each episode anew; one by one that is no matter."""
    net, learner = rc.models.Module(Dropping), MAML(lr=0.1, tasks=FewShot(3, 1, 1))
    assert learned(learner, net)[0].vectors["delta"].any()
    with pytest.raises(ModelError, match=r"MAML\(vectorised=True\): vmap: .*random.*; set vectorised=False"):
        learned(replace(learner, vectorised=True), net)


def test_is_told_to_stop():
    with pytest.raises(RoundStopped, match="agent 'a' was told to stop in round 1 after 0 outer steps"):
        learned(MAML(lr=0.1, tasks=FewShot(3, 1, 1)), NET, stop=lambda: True)


def test_adapted_where_it_is_used(curved):
    """In evaluation mode, in place, and refused if it leads nowhere."""
    learner = MAML(lr=0.3, steps=2, **ONE)
    support = curved.episode(learner)[0]
    module = Curved().model().train()
    before = curved.task.loss(module, support).item()
    assert curved.task.loss(learner.adapted(curved.task, module, support), support).item() < before
    assert module.training
    with pytest.raises(rc.DataError, match=r"MAML diverges on these examples: lower lr=1e\+200 or steps=3"):
        MAML(lr=1e200, steps=3, **ONE).adapted(curved.task, module, support)
