from dataclasses import replace

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from raycollab.data import Shard
from raycollab.errors import ConfigError
from raycollab.learners import SGD, Optimizer, Scaffold
from raycollab.models import CNN
from raycollab.params import Exchange, FlatModel
from raycollab.schedules import Constant, Cosine, Decay
from raycollab.task import Problem
from raycollab.tasks import ImageClassification
from raycollab.types import Round

from .conftest import TASK, build


def remembered(control):
    """What an agent remembers whose steps have no memory."""
    return {"control": control, "learner": {}}


def told(bench, control, participation=1.0):
    """The bench's round, with a control vector."""
    vectors = {**bench.round.vectors, "control": control}
    return Round(1, bench.round.seed, 0, vectors, {"participation": participation})


def test_option_1_is_the_gradient_over_the_shard(bench):
    """One full batch: the agent's new control is the gradient that its one step followed, delta / -lr."""
    zero = torch.zeros_like(bench.params)
    learner = SGD(lr=0.1, batch_size=1000)
    update, state = Scaffold(learner, option=1).update(bench.problem, bench.params, remembered(zero), told(bench, zero))
    torch.testing.assert_close(state["control"], update.vectors["delta"] / -0.1, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(update.vectors["control"], state["control"])


@pytest.mark.parametrize("option", [1, 2])
def test_what_is_sent_is_scaled_by_the_share_of_agents(bench, option):
    """c moves by |S| / N of the mean change: half of the agents, half of the change."""
    zero = torch.zeros_like(bench.params)
    rule = Scaffold(SGD(lr=0.1, batch_size=6), option=option)
    whole, half = (
        rule.update(bench.problem, bench.params, remembered(zero), told(bench, zero, share))[0] for share in (1.0, 0.5)
    )
    torch.testing.assert_close(half.vectors["control"], whole.vectors["control"] / 2)
    assert torch.equal(half.vectors["delta"], whole.vectors["delta"])


@pytest.mark.parametrize(
    ("schedule", "rates"), [(Constant(), (0.2, 0.2, 0.2)), (Decay(0.5, over="steps"), (0.2, 0.1, 0.05))]
)
def test_option_2_is_the_mean_gradient_along_the_path(bench, schedule, rates):
    """sum_t g_t / K, each where its step began; at a constant rate c_i - c - delta / (K lr), as the paper has it."""
    zero = torch.zeros_like(bench.params)
    rule = Scaffold(SGD(lr=0.2, steps=3, batch_size=1000, schedule=schedule))
    update, state = rule.update(bench.problem, bench.params, remembered(zero), told(bench, zero))
    module, total = build(), zero
    for rate in rates:
        module.zero_grad()
        TASK.loss(module, bench.shard.columns()).backward()
        total = total + torch.cat([p.grad.reshape(-1) for p in module.parameters()])
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.sub_(parameter.grad, alpha=rate)
    torch.testing.assert_close(state["control"], total / 3, rtol=1e-4, atol=2e-6)
    read_off = update.vectors["delta"] / -sum(rates)
    assert torch.allclose(read_off, total / 3, rtol=1e-4, atol=2e-6) == (schedule == Constant())


@pytest.mark.parametrize("index", [2, 3, 9])  # the rate is half of 0.1, then 0
def test_a_rate_of_zero_still_has_a_gradient(bench, index):
    """One full batch: the control is the gradient at the round's parameters, whatever becomes of it."""
    own, common = torch.randn(2, bench.params.numel(), generator=torch.Generator().manual_seed(0))
    learner = SGD(lr=0.1, steps=1, batch_size=1000, schedule=Cosine(length=2))
    round = replace(told(bench, common), index=index)
    update, state = Scaffold(learner).update(bench.problem, bench.params, remembered(own), round)
    _, exact = Scaffold(learner, option=1).update(bench.problem, bench.params, remembered(own), round)
    torch.testing.assert_close(state["control"], exact["control"], rtol=1e-4, atol=1e-6)
    assert bool(update.vectors["delta"].any()) == (index == 2)


def test_option_1_leaves_batch_norm_to_the_steps():
    """Its pass over the data moves no statistics: those that stay private are what plain SGD makes of them."""
    task = ImageClassification(CNN(3, size=4, channels=(2,), hidden=5, batch_norm=True), 3)
    columns = {"image": torch.randn(20, 1, 4, 4), "label": torch.arange(20) % 3}
    model = FlatModel(task.model(), Exchange(buffers="private"))
    problem = Problem("a", task, model, Shard(columns, val_fraction=0.0, seed=0), lambda: False)
    params, learner = model.read(), SGD(lr=0.1, batch_size=5)
    zero, held = torch.zeros_like(params), []
    round = Round(1, 7, 0, {"params": params, "control": zero}, {"participation": 1.0})
    for rule, state in ((learner, {}), (Scaffold(learner, option=1), remembered(zero))):
        model.load_private(None)
        rule.update(problem, params, state, round)
        held.append(model.private())
    assert all(torch.equal(held[0][name], held[1][name]) for name in held[0])
    assert any("running_mean" in name for name in held[0])


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_that_of_corrected_gradients(bench, nesterov):
    """torch.optim's steps with g + c - c_i for a gradient; the control is the mean of g."""
    own, common = torch.randn(2, bench.params.numel(), generator=torch.Generator().manual_seed(0)) / 100
    learner = SGD(lr=0.1, momentum=0.9, nesterov=nesterov, keep_momentum=True, steps=3, batch_size=1000)
    memory = {"control": own, "learner": learner.init(bench.params)}
    update, state = Scaffold(learner).update(bench.problem, bench.params, memory, told(bench, common))
    module, total = build(), torch.zeros_like(own)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, nesterov=nesterov)
    for _ in range(3):
        optimizer.zero_grad()
        TASK.loss(module, bench.shard.columns()).backward()
        total += parameters_to_vector(p.grad for p in module.parameters())
        for parameter, part in zip(module.parameters(), vector_like(common - own, module), strict=True):
            parameter.grad += part
        optimizer.step()
    moved = parameters_to_vector(module.parameters()).detach() - bench.params
    torch.testing.assert_close(update.vectors["delta"], moved, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state["control"], total / 3, rtol=1e-4, atol=1e-6)
    again, _ = Scaffold(learner).update(bench.problem, bench.params, state, told(bench, common))
    assert not torch.allclose(again.vectors["delta"], update.vectors["delta"])  # with the velocity that was kept


def vector_like(vector, module):
    """Pieces of a vector in the shapes of a module's parameters."""
    pieces = vector.split([parameter.numel() for parameter in module.parameters()])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, module.parameters(), strict=True)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learner": Optimizer("Adam")}, r"Scaffold\.learner=Optimizer.*: must be SGD: a control is a gradient"),
        ({"learner": SGD(), "option": 3}, r"Scaffold\.option=3: must be 1 or 2"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Scaffold(**settings)
