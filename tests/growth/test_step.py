"""A step to a larger form changes nothing that the net says, and what it adds can learn."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.errors import ModelError
from raycollab.growth import Step
from raycollab.models import CNN, MLP, Module, Without

IMAGES = torch.randn(16, 1, 12, 12, generator=torch.Generator().manual_seed(0))
SAME = {"rtol": 0.0, "atol": 1e-5}  # float32: a few hundred products are added in another order


def blocks(deep=True):
    """Two convolutions with BatchNorm, the second of which may be missing."""
    second = [nn.Conv2d(4, 6 if deep else 4, 3, padding=1, bias=False), nn.BatchNorm2d(6 if deep else 4)]
    last = nn.Linear((6 if deep else 4) * 4, 10)
    net = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), *second, nn.ReLU()]
    net = nn.Sequential(*net, nn.AdaptiveAvgPool2d(2), nn.Flatten(), last)
    if not deep:
        net[3] = net[4] = nn.Identity()
    return net


def cnn(batch_norm, *, outputs=10, channels=(4, 8), hidden=12):
    return CNN(outputs, size=12, channels=channels, hidden=hidden, batch_norm=batch_norm)


TWICE = MLP(144, 10, (20, 30))
STEPS = {
    "wider": (MLP(144, 10, (20,)), MLP(144, 10, (50,))),
    "wider, twice": (TWICE, MLP(144, 10, (41, 77))),
    "more classes": (MLP(144, 9, (20,)), MLP(144, 10, (20,))),
    "wider, more classes": (MLP(144, 9, (20,)), MLP(144, 10, (50,))),
    "deeper": (Without(MLP(144, 10, (20, 20)), ("3", "4")), MLP(144, 10, (20, 20))),
    "deeper, wider": (Without(MLP(144, 10, (20, 20)), ("3",)), MLP(144, 10, (30, 40))),
    "images": (cnn(False), cnn(False, channels=(6, 20), hidden=30)),
    "images, BatchNorm": (cnn(True), cnn(True, channels=(6, 20), hidden=30)),
    "images, BatchNorm, more classes": (cnn(True, outputs=8), cnn(True)),
    "images, deeper with BatchNorm": (Module(blocks, {"deep": False}), Module(blocks)),
}
each_step = pytest.mark.parametrize("name", STEPS)


def nets(name, seed=3):
    """The net of before, which has seen images in training mode, the one after with other values, and the step."""
    torch.manual_seed(seed)
    small, large = (recipe.build() for recipe in STEPS[name])
    for _ in range(3):
        small.train()(2 * IMAGES + 1)
    return small.eval(), large.eval(), Step(small, large, seed)


def grown(name, seed=3):
    small, large, step = nets(name, seed)
    large.load_state_dict(step.grow(small.state_dict(), large.state_dict()))
    return small, large, step


@each_step
def test_old_outputs_stay_as_they_were(name):
    small, large, _ = grown(name)
    before, after = small(IMAGES), large(IMAGES)
    torch.testing.assert_close(after[:, : before.shape[1]], before, **SAME)
    assert sum(p.numel() for p in large.parameters()) > sum(p.numel() for p in small.parameters())


@each_step
def test_the_same_seed_gives_the_same_bits_and_another_one_others(name):
    same = [grown(name, seed)[1].state_dict() for seed in (3, 3, 4)]
    small = nets(name)[0].state_dict()
    again = nets(name, 4)[2].grow(small, same[2])
    assert all(torch.equal(same[0][key], same[1][key]) for key in same[0])
    deeper = name in ("deeper", "images, deeper with BatchNorm")  # the identity is the identity; nothing is drawn
    wider = name == "images, deeper with BatchNorm"
    assert any(not torch.equal(same[0][key], again[key]) for key in again) != (deeper and not wider)


@each_step
def test_what_a_step_made_can_be_taken_back(name):
    small, large, step = grown(name)
    back = step.shrink(large.state_dict())
    assert set(back) == set(small.state_dict())
    for key, value in small.state_dict().items():
        torch.testing.assert_close(back[key], value, rtol=0, atol=1e-6)


def test_old_rows_of_a_head_stay_to_the_bit_and_new_ones_are_drawn_as_torch_does():
    small, large, _ = grown("more classes")
    assert torch.equal(large[3].weight[:9], small[3].weight)
    assert torch.equal(large[3].bias[:9], small[3].bias)
    fresh, bound = large[3].weight[9], 20**-0.5
    assert 0.5 * bound < fresh.abs().max() <= bound
    assert 0 < large[3].bias[9].abs() <= bound


def test_copies_of_a_unit_go_apart_when_they_learn():
    """Copies whose outgoing weights are equal would have equal gradients for ever."""
    _, large, _ = grown("wider")
    optimizer = torch.optim.SGD(large.parameters(), lr=0.5)
    labels = torch.arange(16) % 10
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(large(IMAGES), labels).backward()
        optimizer.step()
    rows = large[1].weight
    distances = (rows[:, None] - rows[None]).norm(dim=2) + torch.eye(len(rows)) * 10
    assert distances.min() > 1e-5


def test_part_of_the_tensors_is_turned_as_all_of_them_are():
    """A private head goes with the units that the exchanged layers below it have copied."""
    small, large, step = nets("wider, more classes")
    values = small.state_dict()
    whole = step.grow(values, large.state_dict())
    part = step.grow({name: values[name] for name in ("3.weight", "3.bias")}, ("3.weight", "3.bias"))
    assert set(part) == {"3.weight", "3.bias"}
    assert all(torch.equal(part[name], whole[name]) for name in part)


class Two(nn.Module):
    """No row of layers."""

    def __init__(self, width=8, outputs=9):
        super().__init__()
        self.left, self.right = nn.Linear(6, width), nn.Linear(6, width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x):
        return self.head(torch.relu(self.left(x) + self.right(x)))


def test_any_net_can_have_more_outputs():
    torch.manual_seed(0)
    small, large = Two().eval(), Two(outputs=12).eval()
    large.load_state_dict(Step(small, large, 0).grow(small.state_dict(), large.state_dict()))
    x = torch.randn(5, 6)
    torch.testing.assert_close(large(x)[:, :9], small(x), **SAME)


@pytest.mark.parametrize(
    ("small", "large", "message"),
    [
        (MLP(6, 4, (9,)), MLP(6, 4, (8,)), r"'1.weight' has shape \(9, 6\) in one form and has shape \(8, 6\) in the"),
        (MLP(6, 5), MLP(6, 4), r"'3.weight' has shape \(5, 128\).*forms only grow; give them from the smallest on"),
        (MLP(6, 8, (8, 8)), MLP(6, 8, (8,)), r"'5.weight' has shape .* and is not there in the next"),
        (MLP(6, 4, (8,)), MLP(6, 4, (8,)), "two forms in a row are of one size; leave one of them out"),
        (MLP(6, 4, (8,)), MLP(7, 4, (8,)), r"'1.weight' is given 6 and not 7 before"),
        (MLP(6, 4, (8,)), MLP(6, 4, (8, 8)), "'5' cannot be new: it is the last"),
        (Module(Two), Module(Two, {"width": 10}), "'left.weight' grows, and Two is no row of layers"),
        (Without(MLP(6, 4, (8, 8)), ("1",)), MLP(6, 4, (8, 8)), "'3.weight' is given 8 and not 6 before"),
        (Without(MLP(6, 4, (6,)), ("3",)), MLP(6, 4, (6,)), "'3' cannot be new: it is the last"),
    ],
)
def test_what_cannot_grow_is_refused_by_name(small, large, message):
    with pytest.raises(ModelError, match=message):
        Step(small.build(), large.build(), 0)


@pytest.mark.parametrize("convolution", [{"stride": 2, "padding": 1}, {"padding": 0}, {"padding": 1, "dilation": 2}])
def test_a_new_convolution_must_keep_the_size_of_images(convolution):
    small, large = blocks(deep=False), blocks()
    large[3] = nn.Conv2d(4, 6, 3, bias=False, **convolution)
    with pytest.raises(ModelError, match="the new convolution '3' changes the size of images"):
        Step(small, large, 0)


def test_a_layer_that_is_not_there_cannot_be_left_out():
    with pytest.raises(ModelError, match=r"no layer '7'; there are: 0, 1, 2, 3"):
        Without(MLP(6, 4, (8,)), ("7",)).build()
    with pytest.raises(rc.ConfigError, match=r"Without\.net"):
        replace(Without(MLP(6, 4), ()), net=nn.Linear(2, 2))
