import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.transforms import Momentum, ServerOptimizer

NAMED = [
    ("SGD", {"lr": 0.7, "momentum": 0.9, "nesterov": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.2}),
    ("Adagrad", {}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.5}),
    ("ASGD", {"lr": 0.1}),
]


def walk(rule, deltas, start):
    """Where a rule goes from a start, as the driver would: the parameters plus each step."""
    params, state = start, rule.init(start)
    for delta in deltas:
        step, state = rule.update(delta, state, params, seed=0)
        params = params + step
    return params


def deltas(count=5):
    return torch.randn(count, 20, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "args"), NAMED)
def test_equals_torch(name, args):
    """A step against a gradient of -delta. Tolerance: steps are differences of parameters near 1."""
    start = torch.randn(20, generator=torch.Generator().manual_seed(1))
    parameter = start.clone().requires_grad_()
    optimizer = getattr(torch.optim, name)([parameter], **args)
    for delta in deltas():
        parameter.grad = -delta
        optimizer.step()
    torch.testing.assert_close(walk(ServerOptimizer(name, args), deltas(), start), parameter.detach())
    first, _ = ServerOptimizer(name, args).update(deltas()[0], {"memory": []}, start, seed=0)
    assert (torch.sign(first) == torch.sign(deltas()[0])).float().mean() > 0.8  # forwards, but for weight decay


@pytest.mark.parametrize(("lr", "nesterov"), [(1.0, False), (0.7, True)])
def test_momentum_is_sgd(lr, nesterov):
    """FedAvgM, and the outer step of DiLoCo."""
    named = ServerOptimizer("SGD", {"lr": lr, "momentum": 0.9, "nesterov": nesterov})
    own = Momentum(0.9, lr=lr, nesterov=nesterov)
    torch.testing.assert_close(*(walk(rule, deltas(), torch.zeros(20)) for rule in (named, own)))


def test_plain_sgd_of_rate_1_is_the_delta():
    step, state = ServerOptimizer("SGD", {"lr": 1.0}).update(deltas()[0], {"memory": []}, torch.zeros(20), seed=0)
    assert torch.equal(step, deltas()[0])
    assert state == {"memory": []}


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("Sgd", {}, "ServerOptimizer.name='Sgd': must be one of ASGD, Adadelta"),
        ("LBFGS", {}, "ServerOptimizer.name='LBFGS': evaluates the loss several times in a step"),
        ("Muon", {}, "ServerOptimizer.name='Muon': looks at the shapes of parameters, which the flat vector lacks"),
        ("Adafactor", {}, "ServerOptimizer.name='Adafactor': looks at the shapes of parameters"),
        ("SGD", {"lr": -1.0}, r"ServerOptimizer\(name='SGD', args={'lr': -1.0}\): Invalid learning rate"),
        ("SGD", {"speed": 1}, r"ServerOptimizer\(name='SGD', args={'speed': 1}\): .*unexpected keyword argument"),
    ],
)
def test_refuses(name, args, message):
    with pytest.raises(ConfigError, match=message):
        ServerOptimizer(name, args)
