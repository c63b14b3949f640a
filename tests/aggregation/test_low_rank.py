import pytest
import torch

from raycollab.aggregation.low_rank import Spectrum, lost_energy, pairs_of, ranks_within
from raycollab.errors import ModelError
from raycollab.spec import Entry

from .support import randn


def entries(*shapes):
    """Entries one after another, by name and shape."""
    made, offset = [], 0
    for name, shape in shapes:
        made.append(Entry(name, shape, "float32", offset))
        offset = made[-1].stop
    return made


@pytest.mark.parametrize(
    ("names", "shapes", "layer"),
    [
        (("1.lora_A.raycollab_adapter.weight", "1.lora_B.raycollab_adapter.weight"), ((2, 5), (4, 2)), "1"),
        (("e.lora_embedding_A.raycollab_adapter", "e.lora_embedding_B.raycollab_adapter"), ((2, 5), (4, 2)), "e"),
        (("c.lora_A.raycollab_adapter.weight", "c.lora_B.raycollab_adapter.weight"), ((2, 5, 1, 1), (4, 2, 1, 1)), "c"),
        (("1.lora_A.own.weight", "1.lora_B.own.weight"), ((2, 5), (4, 2)), "1.own"),
    ],
)
def test_pairs_are_found_by_their_names(names, shapes, layer):
    down, up = zip(names, shapes, strict=True)
    found = entries(("head.weight", (3,)), down, ("head.bias", (1,)), up)
    (pair,) = pairs_of(found)
    assert (pair.layer, pair.rank, pair.height, pair.width) == (layer, 2, 4, 5)
    vector = torch.arange(22.0)
    up, down = pair.of(vector)
    assert torch.equal(down, vector[3:13].view(2, 5))
    assert torch.equal(up, vector[14:].view(4, 2))


def test_two_adapters_of_one_layer_are_two_pairs():
    names = [f"1.lora_{factor}.{name}.weight" for name in ("raycollab_adapter", "own") for factor in "AB"]
    found = pairs_of(entries(*((name, (2, 2)) for name in names)))
    assert [pair.layer for pair in found] == ["1", "1.own"]


def test_factors_of_any_rank_as_one_vector():
    (pair,) = pairs_of(entries(("a.lora_A.x", (3, 5)), ("a.lora_B.x", (4, 3))))
    for rank in (1, 2, 3):
        up, down = randn(4, rank), randn(rank, 5)
        assert all(map(torch.equal, pair.unflat(pair.flat((up, down))), (up, down)))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([("1.lora_A.x", (2, 5))], r"'1.lora_A.x' is exchanged without the other factor of its adapter"),
        ([("1.lora_B.x", (5, 2)), ("2.lora_A.x", (2, 5))], r"'1.lora_B.x' is exchanged without the other factor"),
        ([("1.lora_A.x", (5, 2)), ("1.lora_B.x", (4, 2))], r"'1.lora_B.x' \(4, 2\) times '1.lora_A.x' \(5, 2\) is no"),
    ],
)
def test_what_is_no_pair(shapes, message):
    with pytest.raises(ModelError, match=message):
        pairs_of(entries(*shapes))


@pytest.mark.parametrize(("height", "width"), [(9, 7), (7, 9), (3, 9)])
def test_a_spectrum_is_that_of_the_sum(height, width):
    """Also where the terms' ranks together are above the layer's width."""
    terms = [(randn(height, rank, seed=rank), randn(rank, width, seed=9 + rank)) for rank in (1, 2, 3)]
    whole = sum(up.double() @ down.double() for up, down in terms)
    found = Spectrum.of(terms)
    expected = torch.linalg.svdvals(whole)
    torch.testing.assert_close(found.values[: len(expected)], expected[: len(found)])
    torch.testing.assert_close((found.up * found.values) @ found.down, whole)
    torch.testing.assert_close(found.down @ found.down.T, torch.eye(len(found), dtype=torch.float64))
    assert (found.values.diff() <= 0).all()


def test_signs_of_components_are_fixed():
    """The same product of factors with other signs has the same singular vectors, bit for bit or nearly."""
    up, down = randn(6, 3), randn(3, 5, seed=1)
    flip = torch.tensor([1.0, -1.0, -1.0])
    one, other = Spectrum.of([(up, down)]), Spectrum.of([(up * flip, down * flip[:, None])])
    torch.testing.assert_close(one.up, other.up)
    torch.testing.assert_close(one.down, other.down)
    assert (one.down.gather(1, one.down.abs().argmax(1, keepdim=True)) > 0).all()


def spectrum(*values):
    return Spectrum(torch.eye(4).double()[:, : len(values)], torch.tensor(values).double(), torch.eye(len(values)))


SPECTRA = {"a": spectrum(4.0, 2.0, 1.0), "b": spectrum(3.0, 2.0, 2.0), "c": spectrum(0.0, 0.0)}


@pytest.mark.parametrize(
    ("budget", "ranks", "lost"),
    [
        (None, (3, 2, 0), 4),  # b has three, and room for two
        (9, (3, 2, 0), 4),
        (4, (2, 2, 0), 5),
        (3, (2, 1, 0), 9),  # of three that are equal, that of the first layer
        (1, (1, 0, 0), 22),
    ],
)
def test_the_largest_components_of_all_layers_are_kept(budget, ranks, lost):
    """Squares: 16, 4, 1 and 9, 4, 4: 38 together."""
    found = ranks_within(SPECTRA, {"a": 3, "b": 2, "c": 2}, budget)
    assert tuple(found.values()) == ranks
    assert lost_energy(SPECTRA, found) == pytest.approx(lost / 38)


def test_rounding_is_no_component():
    assert ranks_within({"a": spectrum(1.0, 1e-9)}, {"a": 2}, None) == {"a": 1}
    assert lost_energy({"c": SPECTRA["c"]}, {"c": 0}) == 0.0
