import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.learners import SGD, Scaffold
from raycollab.schedules import Decay
from raycollab.types import Round

from .conftest import TASK, build


def told(bench, control, participation=1.0):
    """The bench's round, with a control vector."""
    vectors = {**bench.round.vectors, "control": control}
    return Round(1, bench.round.seed, 0, vectors, {"participation": participation})


def test_option_1_is_the_gradient_over_the_shard(bench):
    """One full batch: the agent's new control is the gradient that its one step followed, delta / -lr."""
    zero = torch.zeros_like(bench.params)
    learner = SGD(lr=0.1, batch_size=1000)
    update, state = Scaffold(learner, option=1).update(
        bench.problem, bench.params, {"control": zero}, told(bench, zero)
    )
    torch.testing.assert_close(state["control"], update.vectors["delta"] / -0.1, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(update.vectors["control"], state["control"])


@pytest.mark.parametrize("option", [1, 2])
def test_what_is_sent_is_scaled_by_the_share_of_agents(bench, option):
    """c moves by |S| / N of the mean change: half of the agents, half of the change."""
    zero = torch.zeros_like(bench.params)
    rule = Scaffold(SGD(lr=0.1, batch_size=6), option=option)
    whole, half = (
        rule.update(bench.problem, bench.params, {"control": zero}, told(bench, zero, share))[0] for share in (1.0, 0.5)
    )
    torch.testing.assert_close(half.vectors["control"], whole.vectors["control"] / 2)
    assert torch.equal(half.vectors["delta"], whole.vectors["delta"])


def test_option_2_under_a_schedule_weighs_gradients_by_their_rates(bench):
    """c_i+ = c_i - c + (x - y) / sum_t lr_t, which for c_i = c = 0 is sum_t lr_t g_t / sum_t lr_t."""
    zero = torch.zeros_like(bench.params)
    schedule = Decay(0.5, over="steps")
    rule = Scaffold(SGD(lr=0.2, steps=3, batch_size=1000, schedule=schedule))
    _, state = rule.update(bench.problem, bench.params, {"control": zero}, told(bench, zero))
    module, total = build(), zero
    for rate in (0.2, 0.1, 0.05):
        module.zero_grad()
        TASK.loss(module, bench.shard.columns()).backward()
        total = total + rate * torch.cat([p.grad.reshape(-1) for p in module.parameters()])
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.sub_(parameter.grad, alpha=rate)
    torch.testing.assert_close(state["control"], total / 0.35, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learner": SGD(), "option": 3}, r"Scaffold\.option=3: must be 1 or 2"),
        ({"learner": SGD(momentum=0.9)}, r"Scaffold\.learner\.momentum=0\.9: must be 0: a control is a mean gradient"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Scaffold(**settings)
