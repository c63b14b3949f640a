import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.optimizers import check_name, make_optimizer, memory_of, remember
from raycollab.tree import seal, unseal


def step(optimizer, vector, gradient):
    vector.grad = torch.full_like(vector, gradient)
    optimizer.step()


@pytest.mark.parametrize(("name", "args"), [("Adam", {}), ("SGD", {"momentum": 0.9}), ("Adafactor", {}), ("Rprop", {})])
def test_memory_goes_on_where_it_was(name, args):
    """Two steps in one optimizer, and one each in two with a checkpoint in between."""
    one, other = torch.ones(3, 2), torch.ones(3, 2)
    whole, first = (make_optimizer("X", name, args, [vector]) for vector in (one, other))
    step(whole, one, 1.0)
    step(first, other, 1.0)
    tensors, text = seal(memory_of(first), "x")
    second = make_optimizer("X", name, args, [other])
    remember(second, unseal(tensors, text, "x"))
    step(whole, one, -0.5)
    step(second, other, -0.5)
    assert torch.equal(one, other)


def test_memory_is_copied():
    vector = torch.ones(3)
    first = make_optimizer("X", "SGD", {"momentum": 0.9}, [vector])
    step(first, vector, 1.0)
    memory = memory_of(first)
    second = make_optimizer("X", "SGD", {"momentum": 0.9}, [vector])
    remember(second, memory)
    step(second, vector, 1.0)
    assert torch.equal(memory[0]["momentum_buffer"], torch.ones(3))


def test_a_rule_without_memory_and_one_that_has_not_stepped():
    vector = torch.ones(3)
    plain, fresh = make_optimizer("X", "SGD", {}, [vector]), make_optimizer("X", "Adam", {}, [vector])
    step(plain, vector, 1.0)
    assert memory_of(plain) == memory_of(fresh) == []
    remember(fresh, [])
    step(fresh, vector, 1.0)
    assert memory_of(fresh)[0]["step"] == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LBFGS", "X.name='LBFGS': evaluates the loss several times in a step, which a step over one batch cannot"),
        ("SparseAdam", "X.name='SparseAdam': wants sparse gradients, which vectors that are exchanged do not have"),
        ("Optimizer", "X.name='Optimizer': must be one of ASGD, Adadelta"),
        ("swa_utils", "X.name='swa_utils': must be one of ASGD, Adadelta"),
    ],
)
def test_refuses(name, message):
    with pytest.raises(ConfigError, match=message):
        check_name(name, "X.name")


def test_refuses_arguments():
    with pytest.raises(ConfigError, match=r"X\(name='SGD', args={'lr': -1}\): Invalid learning rate: -1"):
        make_optimizer("X", "SGD", {"lr": -1}, [torch.ones(1)])
