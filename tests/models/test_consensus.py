import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.models import MLP, WithConsensus
from raycollab.params import Exchange, FlatModel


def test_the_net_says_what_it_would_say_alone():
    torch.manual_seed(0)
    alone = MLP(4, 2).build()
    torch.manual_seed(0)
    module = WithConsensus(MLP(4, 2), 5, 2).build()
    inputs = torch.randn(3, 4)
    assert torch.equal(module(inputs), alone(inputs))
    assert module.consensus.shape == (5, 2)


def test_the_consensus_travels_without_the_net_or_with_one_of_another_name():
    exchange = Exchange(include=("consensus", "student.*"))
    student = FlatModel(WithConsensus(MLP(4, 2), 5, 2, "student").build(), exchange)
    other = FlatModel(WithConsensus(MLP(4, 2, hidden=(9,)), 5, 2).build(), exchange, whole=False)
    assert (other.spec.num_params, other.spec.num_buffers) == (0, 10)
    assert student.spec.num_params == sum(p.numel() for p in student.module.parameters())
    coverage = student.spec.coverage(other.spec)
    assert coverage.buffers.full
    assert coverage.params.ranges == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_examples": 0}, r"WithConsensus.num_examples=0: must be >= 1"),
        ({"num_outputs": 0}, r"WithConsensus.num_outputs=0: must be >= 1"),
        ({"name": "consensus"}, r"WithConsensus.name='consensus': must be a name that modules do not use"),
        ({"name": "forward"}, r"WithConsensus.name='forward'"),
        ({"name": "a.b"}, r"WithConsensus.name='a.b'"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        WithConsensus(**{"net": MLP(4, 2), "num_examples": 5, "num_outputs": 2, **settings})
