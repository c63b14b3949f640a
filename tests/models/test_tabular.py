"""A net for rows of a table."""

import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.models import Tabular
from raycollab.params import Exchange, FlatModel


def rows(n=6):
    numbers = torch.tensor([50.0, 1000.0]) + torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    return torch.cat([numbers, torch.arange(n)[:, None] % 3], 1)


@pytest.mark.parametrize("trunk", ["mlp", "residual"])
def test_numbers_and_names(trunk):
    module = Tabular(4, numbers=2, categories=(3,), trunk=trunk, hidden=(8, 8)).build().eval()
    assert module(rows()).shape == (6, 4)
    other = rows()
    other[:, 2] = (other[:, 2] + 1) % 3
    assert not torch.allclose(module(other), module(rows()))


def test_only_numbers_or_only_names():
    assert Tabular(4, numbers=2).build()(torch.randn(5, 2)).shape == (5, 4)
    assert Tabular(4, numbers=0, categories=(3, 2)).build()(torch.ones(5, 2)).shape == (5, 4)


def test_embeddings_are_no_wider_than_half_their_names():
    widths = [embed.weight.shape for embed in Tabular(2, 0, (2, 5, 100)).build().embeddings]
    assert widths == [(2, 1), (5, 3), (100, 8)]


def test_given_statistics_are_the_same_for_all_and_do_not_travel():
    net = Tabular(2, 2, mean=(50, 1000), deviation=(2, 4))
    module = net.build()
    torch.testing.assert_close(module.standard(torch.tensor([[54.0, 996.0]])), torch.tensor([[2.0, -1.0]]))
    assert FlatModel(module, Exchange()).spec.buffers == ()
    assert not any("mean" in name for name in module.state_dict())  # they stand in the recipe


def test_learnt_statistics_travel():
    """Running means and deviations are exchanged buffers; a batch of one row is standardised by them."""
    module = Tabular(2, 2, (3,)).build()
    spec = FlatModel(module, Exchange()).spec
    assert [entry.name for entry in spec.buffers] == ["standard.running_mean", "standard.running_var"]
    module(rows())
    assert module.standard.running_mean[1] > 50
    before = module.standard.running_mean.clone()
    assert module(rows()[:1]).isfinite().all()
    assert torch.equal(module.standard.running_mean, before)


def test_shifted_parties_are_told_apart_only_by_given_statistics():
    """In training, BatchNorm makes two parties alike whose columns are shifted; given statistics keep the shift."""
    learnt, given = Tabular(2, 2).build().standard, Tabular(2, 2, mean=(50, 1000), deviation=(1, 1)).build().standard
    north = rows()[:, :2]
    south = north + 8
    torch.testing.assert_close(learnt(north), learnt(south), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(given(south) - given(north), torch.full((6, 2), 8.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"numbers": -1}, "Tabular.numbers=-1: must be >= 0"),
        ({"numbers": 0}, "Tabular.numbers=0: must be >= 1 where there are no categories"),
        ({"categories": (3, 0)}, r"Tabular.categories=\(3, 0\): must be numbers of names >= 1"),
        ({"mean": (0.0, 1.0)}, r"Tabular.mean=\(0.0, 1.0\): must be given together with deviation"),
        ({"mean": (0.0,), "deviation": (1.0,)}, r"Tabular.mean=\(0.0,\): must hold a value for each of the 2 numbers"),
        ({"mean": (0, 0), "deviation": (1, 0)}, r"Tabular.deviation=\(1, 0\): must be > 0"),
        ({"trunk": "tree"}, "Tabular.trunk='tree': must be one of"),
        ({"trunk": "residual", "hidden": (8, 4)}, r"Tabular.hidden=\(8, 4\): must all be the same for residual"),
        ({"hidden": ()}, r"Tabular.hidden=\(\): must be widths"),
        ({"dropout": 1}, r"Tabular.dropout=1: must be in \[0, 1\)"),
        ({"embedding": 0}, "Tabular.embedding=0: must be >= 1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        Tabular(**{"num_outputs": 2, "numbers": 2, **settings})
