"""Laws of every way of fusing: order, absence, gradients, parts of it, and what is refused."""

import inspect

import pytest
import torch

from raycollab import fusion
from raycollab.errors import ConfigError, ModelError
from raycollab.fusion import (
    Bottleneck,
    Concatenation,
    CrossAttention,
    FiLM,
    Fusion,
    Gated,
    LateLogits,
    LowRank,
    MixtureOfExperts,
    TensorProduct,
)

WIDTHS = {"audio": 3, "image": 5, "text": 4}
TWO = {"audio": 3, "image": 5}
OUTPUTS = 7
EVERY = (
    Bottleneck(8, num_tokens=2, num_heads=2),
    Concatenation(8),
    CrossAttention(8, num_heads=2, num_layers=2),
    FiLM("image", 8),
    FiLM("audio", 8),
    Gated(8),
    LateLogits(),
    LateLogits({"audio": 1.0, "image": 2.0, "text": 0.5}),
    LowRank(8, rank=2),
    MixtureOfExperts(8, num_experts=3),
    MixtureOfExperts(8, num_experts=3, top=2),
    TensorProduct(8, inner=4),
)
every = pytest.mark.parametrize("form", EVERY, ids=repr)


def widths_of(form):
    return TWO if isinstance(form, TensorProduct) else WIDTHS


def built(form, names=None, seed=0):
    torch.manual_seed(seed)
    widths = widths_of(form)
    return form.build({name: widths[name] for name in names or widths}, OUTPUTS)


def example(form, rows=6, tokens=False):
    """Features of all modalities, and rows of which each has another subset of them, the first all."""
    generator = torch.Generator().manual_seed(1)
    shape = (rows, 2) if tokens else (rows,)
    widths = widths_of(form)
    features = {name: torch.randn(*shape, width, generator=generator) for name, width in widths.items()}
    names = list(widths)
    subsets = [row + 1 for row in range(rows)]  # bits: never none
    present = {
        name: torch.tensor([row == 0 or bool((subsets[row] >> place) & 1) for row in range(rows)])
        for place, name in enumerate(names)
    }
    somewhere = torch.stack(list(present.values())).any(0)
    present[names[0]] = present[names[0]] | ~somewhere
    return features, present


def test_every_way_of_fusing_is_tested_here():
    known = {getattr(fusion, name) for name in fusion.__all__ if name[0].isupper()}
    concrete = {each for each in known if issubclass(each, Fusion) and not inspect.isabstract(each)}
    assert {type(form) for form in EVERY} == concrete


@every
def test_the_order_of_the_mapping_changes_no_bit(form):
    features, present = example(form)
    backwards = {name: features[name] for name in reversed(features)}
    net, other = built(form), form.build(dict(reversed(widths_of(form).items())), OUTPUTS)
    assert torch.equal(net(features, present), net(backwards, dict(reversed(present.items()))))
    assert net.state_dict().keys() == other.state_dict().keys()
    torch.manual_seed(0)
    again = form.build(dict(reversed(widths_of(form).items())), OUTPUTS).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in net.state_dict().items())


@every
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("rubbish", [1e6, float("nan")])
def test_what_stands_in_an_absent_modality_changes_nothing(form, tokens, rubbish):
    features, present = example(form, tokens=tokens)
    changed = {name: values.clone() for name, values in features.items()}
    for name, values in changed.items():
        values[~present[name]] = rubbish
        values.requires_grad_()
    net = built(form)
    output = net(changed, present)
    assert torch.equal(net(features, present), output)
    output.square().sum().backward()
    for name, values in changed.items():
        assert torch.equal(values.grad[~present[name]], torch.zeros_like(values.grad[~present[name]]))
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)


@every
def test_absent_from_all_rows_is_not_given(form):
    """What no row has may be left out of the mapping: the same vector but for the order of sums."""
    features, _ = example(form)
    name = min(features)
    here = torch.ones(6, dtype=torch.bool)
    present = {each: here if each == name else ~here for each in features}
    alone = built(form)({name: features[name]})
    torch.testing.assert_close(built(form)(features, present), alone)


@every
def test_a_row_is_fused_by_itself(form):
    """Neither other rows nor what they have matters."""
    features, present = example(form)
    net = built(form)
    whole = net(features, present)
    for row in range(6):
        one = {name: values[row : row + 1] for name, values in features.items()}
        there = {name: values[row : row + 1] for name, values in present.items()}
        torch.testing.assert_close(net(one, there), whole[row : row + 1])


@every
def test_gradients_reach_what_is_present(form):
    features, present = example(form)
    net = built(form)
    leaves = {name: values.requires_grad_() for name, values in features.items()}
    net(leaves, present).square().sum().backward()
    for name, leaf in leaves.items():
        assert bool(leaf.grad[present[name]].any()), name


@every
def test_each_present_modality_counts(form):
    """A vector that looked past one of them would not change with it."""
    features, _ = example(form)
    net = built(form)
    for name in features:
        changed = {**features, name: features[name] + 1}
        assert not torch.allclose(net(features), net(changed)), name


@every
def test_a_part_has_the_names_and_shapes_of_the_whole(form):
    """So a party that holds some modalities shares with the others all that belongs to these."""
    whole = {name: value.shape for name, value in built(form).state_dict().items()}
    for names in (["image"], ["audio"], ["audio", "image"]):
        part = {name: value.shape for name, value in built(form, names).state_dict().items()}
        assert part.items() <= whole.items()
        features, _ = example(form)
        assert built(form, names)({name: features[name] for name in names}).shape[0] == 6


@every
def test_a_part_computes_what_the_whole_does(form):
    features, _ = example(form)
    whole, part = built(form), built(form, ["image"], seed=1)
    part.load_state_dict({name: value for name, value in whole.state_dict().items() if name in part.state_dict()})
    torch.testing.assert_close(part({"image": features["image"]}), whole({"image": features["image"]}))


@every
def test_the_width_is_what_it_says(form):
    features, present = example(form)
    expected = OUTPUTS if form.decides else form.width
    assert built(form)(features, present).shape == (6, expected)


@every
def test_a_batch_with_none_present_is_refused(form):
    features, _ = example(form)
    net = built(form)
    names = ", ".join(sorted(widths_of(form)))
    with pytest.raises(ModelError, match=f"a batch in which no modality is present; it holds: {names}"):
        net({}, {})
    none = {name: torch.zeros(6, dtype=torch.bool) for name in features}
    with pytest.raises(ModelError, match=f"6 rows in which no modality is present.* row 0 .*; it holds: {names}"):
        net(features, none)


@every
def test_features_that_do_not_fit_are_refused(form):
    net = built(form)
    with pytest.raises(ModelError, match=r"features of 'image' of shape \[2, 6\], and takes \[b, 5\]"):
        net({"image": torch.zeros(2, 6)})
    with pytest.raises(ModelError, match=r"features of 'smell'; it holds: audio, image"):
        net({"smell": torch.zeros(2, 6)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Concatenation(0), "Concatenation.width=0: must be >= 1"),
        (lambda: LowRank(8, rank=0), "LowRank.rank=0: must be >= 1"),
        (lambda: TensorProduct(8, inner=0), "TensorProduct.inner=0: must be >= 1"),
        (lambda: CrossAttention(8, num_heads=3), "CrossAttention.num_heads=3: must be >= 1 and divide width=8"),
        (lambda: CrossAttention(8, num_layers=0), "CrossAttention.num_layers=0: must be >= 1"),
        (lambda: Bottleneck(8, num_tokens=0), "Bottleneck.num_tokens=0: must be >= 1"),
        (lambda: MixtureOfExperts(8, num_experts=2, top=3), "MixtureOfExperts.top=3: must be in 1 to num_experts=2"),
        (lambda: LateLogits({"image": 0.0}), r"LateLogits.weights\['image'\]=0.0: must be > 0"),
        (lambda: FiLM("smell").check(WIDTHS), "FiLM.base='smell': is a modality that nobody holds; there are: audio, "),
        (lambda: TensorProduct().check(WIDTHS), "TensorProduct: modalities=.*must be two; take LowRank for more"),
        (lambda: LateLogits({"image": 1.0}).check(TWO), "LateLogits.weights=.*: must name the modalities.*audio, imag"),
        (lambda: LateLogits({"smell": 1.0}).check(["image"]), "LateLogits.weights=.*: must name the modalities"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
