import pytest
import torch
from torch import nn

from raycollab.errors import ConfigError, ModelError
from raycollab.params import Exchange, FlatModel


class Tied(nn.Module):
    """Two names of one weight, and one that is not trained."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.out = nn.Linear(3, 5, bias=False)
        self.out.weight = self.embed.weight
        self.frozen = nn.Linear(3, 3)
        self.frozen.requires_grad_(False)

    def forward(self, x):
        return self.out(self.frozen(self.embed(x)))


def with_head(dtype=torch.float32):
    return nn.ModuleDict({"body": nn.Linear(2, 3), "norm": nn.BatchNorm1d(3), "head": nn.Linear(3, 2, dtype=dtype)})


def flat(module, **exchange):
    return FlatModel(module, Exchange(**exchange))


def test_parameters_and_gradients_are_views_of_the_buffers():
    model = flat(nn.Linear(2, 1))
    model.flats[0].copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert model.module.weight.tolist() == [[1, 2]]
    assert model.module.bias.tolist() == [3]
    with torch.no_grad():
        model.module.bias += 1
    assert model.flats[0].tolist() == [1, 2, 4]
    model.module(torch.tensor([[5.0, 7.0]])).sum().backward()
    assert model.grads[0].tolist() == [5, 7, 1]
    model.zero_grad()
    assert model.module.weight.grad.tolist() == [[0, 0]]


def test_gradients_stay_views_over_steps():
    model = flat(nn.Linear(2, 1))
    for _ in range(3):
        model.zero_grad()
        model.module(torch.ones(1, 2)).sum().backward()
    assert model.module.weight.grad.data_ptr() == model.grads[0].data_ptr()
    assert model.grads[0].tolist() == [1, 1, 1]


def test_the_module_computes_the_same_as_before():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    x = torch.randn(4, 1, 4, 4)
    before = module(x)
    assert torch.equal(flat(module).module(x), before)


def test_load_and_read_are_inverse_and_read_is_a_copy():
    model = flat(nn.Linear(2, 2))
    vector = torch.arange(6.0)
    model.load(vector)
    read = model.read()
    assert torch.equal(read, vector)
    read += 1
    assert torch.equal(model.read(), vector)
    model.flats[0].add_(1)
    assert vector.tolist() == [0, 1, 2, 3, 4, 5]


def test_tied_weights_stand_in_it_once_and_frozen_ones_not_at_all():
    model = flat(Tied())
    assert [entry.name for entry in model.spec.params] == ["embed.weight"]
    assert model.spec.num_params == 15
    model.load(torch.arange(15.0))
    assert model.module.out.weight is model.module.embed.weight
    assert model.module.out.weight[4].tolist() == [12, 13, 14]
    model.module(torch.tensor([1])).sum().backward()
    assert model.grads[0].abs().sum() > 0


def test_half_precision_travels_as_float32():
    model = flat(nn.Linear(2, 1, dtype=torch.bfloat16))
    assert model.lossy
    model.load(torch.tensor([1.0, 1.00001, 2.0]))
    assert model.read().dtype == torch.float32
    assert model.read().tolist() == [1.0, 1.0, 2.0]  # bfloat16 keeps 8 bits
    assert not flat(nn.Linear(2, 1)).lossy


def test_one_buffer_per_dtype_and_one_vector_over_all():
    model = flat(with_head(torch.bfloat16))
    assert [buffer.dtype for buffer in model.flats] == [torch.bfloat16, torch.float32]
    names = [entry.name for entry in model.spec.params]
    assert names == ["head.weight", "head.bias", "body.weight", "body.bias", "norm.weight", "norm.bias"]
    assert [entry.offset for entry in model.spec.params] == [0, 6, 8, 14, 17, 20]
    model.load(torch.arange(23.0))
    assert model.module["head"].bias.tolist() == [6, 7]
    assert model.module["norm"].bias.tolist() == [20, 21, 22]
    assert torch.equal(model.read(), torch.arange(23.0))


def test_odd_shapes_survive():
    module = nn.Module()
    module.scalar = nn.Parameter(torch.tensor(3.0))
    module.empty = nn.Parameter(torch.empty(0, 2))
    module.turned = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())
    model = flat(module)
    assert model.read().tolist() == [3, 0, 3, 1, 4, 2, 5]
    assert module.scalar.shape == ()
    assert module.empty.shape == (0, 2)


def test_float_buffers_travel_and_counters_begin_again():
    model = flat(with_head())
    assert [entry.name for entry in model.spec.buffers] == ["norm.running_mean", "norm.running_var"]
    first = model.read_buffers()
    assert first.tolist() == [0, 0, 0, 1, 1, 1]
    model.module["norm"](torch.randn(8, 3))
    assert model.module["norm"].num_batches_tracked == 1
    assert not torch.equal(model.read_buffers(), first)
    model.load(model.read(), first)
    assert torch.equal(model.read_buffers(), first)
    assert model.module["norm"].num_batches_tracked == 0


def test_private_buffers_stay_and_are_given_back():
    model = flat(with_head(), buffers="private")
    assert model.spec.num_buffers == model.read_buffers().numel() == 0
    model.module["norm"].running_mean.fill_(5)
    mine = model.private()
    model.load_private(None)
    assert model.module["norm"].running_mean.tolist() == [0, 0, 0]
    model.load_private(mine)
    assert model.module["norm"].running_mean.tolist() == [5, 5, 5]


def test_private_parameters_stand_behind_the_exchanged_ones():
    model = flat(with_head(), exclude=("head.*",), buffers="private")
    assert [entry.name for entry in model.spec.params] == ["body.weight", "body.bias", "norm.weight", "norm.bias"]
    assert model.flats[0].numel() == 23
    assert model.spec.num_params == model.read().numel() == 15
    before = model.private()
    model.load(torch.zeros(15))
    assert model.read().abs().sum() == 0
    assert torch.equal(model.private()["head.weight"], before["head.weight"])


def test_private_state_is_a_copy():
    model = flat(with_head(), exclude=("head.*",))
    mine = model.private()
    model.module["head"].bias.data.fill_(7)
    assert not (mine["head.bias"] == 7).any()
    model.load_private(mine)
    model.module["head"].bias.data.fill_(8)
    assert not (mine["head.bias"] == 8).any()
    model.load_private(None)
    assert torch.equal(model.private()["head.bias"], mine["head.bias"])


def test_buffers_that_are_not_saved_do_not_travel():
    module = nn.Linear(1, 1)
    module.register_buffer("cache", torch.zeros(3), persistent=False)
    assert flat(module).spec.num_buffers == 0


@pytest.mark.parametrize(
    ("exchange", "travel"),
    [
        ({}, ["body.bias", "body.weight", "head.bias", "head.weight"]),
        ({"include": ("body.*",)}, ["body.bias", "body.weight"]),
        ({"exclude": ("*.bias",)}, ["body.weight", "head.weight"]),
        ({"include": ["*.weight"], "exclude": ["head.*"]}, ["body.weight"]),
    ],
)
def test_exchange_patterns(exchange, travel):
    names = ["body.bias", "body.weight", "head.bias", "head.weight"]
    chosen = Exchange(**exchange)
    chosen.check(names)
    assert [name for name in names if chosen.matches(name)] == travel
    assert hash(chosen) == hash(Exchange(**exchange))


@pytest.mark.parametrize(
    ("exchange", "message"),
    [
        (
            {"exclude": ("haed.*",)},
            r"pattern 'haed.\*' matches no trainable parameter and no float buffer; there are: body.w",
        ),
        ({"include": ("Body.*",)}, r"pattern 'Body.\*' matches no trainable parameter"),
        ({"exclude": ("*",)}, "nothing is left to exchange; there are: body.weight"),
        ({"include": ()}, "nothing is left to exchange"),
        ({"include": ("norm.num_batches_tracked",)}, "matches no trainable parameter"),
    ],
)
def test_exchange_refuses(exchange, message):
    with pytest.raises(ModelError, match=message):
        flat(with_head(), **exchange)


def test_buffers_alone_may_travel():
    model = flat(with_head(), include=("norm.running_mean",))
    assert (model.spec.num_params, [entry.name for entry in model.spec.buffers]) == (0, ["norm.running_mean"])
    assert model.read().shape == (0,)


def test_buffers_setting_is_checked():
    with pytest.raises(ConfigError, match=r"Exchange.buffers='sum': must be 'average' or 'private'"):
        Exchange(buffers="sum")


def test_nothing_trainable():
    with pytest.raises(ModelError, match="Linear has no trainable parameter: requires_grad is False for all"):
        flat(nn.Linear(1, 1).requires_grad_(False))


def test_digest_names_shapes_and_dtypes():
    digests = [flat(module).spec.digest() for module in (nn.Linear(2, 1), nn.Linear(2, 1), nn.Linear(1, 2))]
    assert digests[0] == digests[1] != digests[2]
    assert flat(nn.Linear(2, 1, dtype=torch.bfloat16)).spec.digest() != digests[0]


def test_coverage_of_another_dtype_is_by_name():
    whole = flat(with_head()).spec
    coverage = whole.coverage(flat(with_head(torch.bfloat16)).spec)
    assert coverage.params.ranges == ((15, 23), (0, 15))  # the half head stands first on the agent, last on the driver


def test_a_part_of_a_model_may_lack_what_a_pattern_names():
    """An agent without the head: the driver's model has it, so the pattern is no mistake."""
    part = FlatModel(nn.ModuleDict({"body": nn.Linear(2, 3)}), Exchange(exclude=("head.*",)), whole=False)
    assert [entry.name for entry in part.spec.params] == ["body.weight", "body.bias"]
    with pytest.raises(ModelError, match="nothing is left to exchange"):
        FlatModel(nn.ModuleDict({"head": nn.Linear(2, 3)}), Exchange(exclude=("head.*",)), whole=False)


def test_gradients_that_somebody_dropped_are_bound_again():
    model = flat(nn.Linear(2, 1))
    model.module.zero_grad(set_to_none=True)
    model.zero_grad()
    model.module(torch.ones(1, 2)).sum().backward()
    assert model.grads[0].tolist() == [1, 1, 1]


def test_a_gradient_by_what_is_exchanged():
    """Of (body . (1, 2)) head, with the body at (1, 2) and heads of 3 and 4: 3 times (1, 2). An unused head has zeros.

    What an optimizer holds is not touched, and two gradients do not share memory.
    """
    module = nn.ModuleDict({"body": nn.Linear(2, 1, bias=False), "head": nn.Linear(1, 1), "idle": nn.Linear(1, 1)})
    model = flat(module, exclude=("head.*",))
    model.flats[0].copy_(torch.tensor([1.0, 2.0, 9.0, 9.0, 3.0, 4.0]))
    model.grads[0].fill_(7.0)
    loss = module["head"](module["body"](torch.tensor([[1.0, 2.0]]))).sum()
    first = model.gradient(loss)
    assert first.tolist() == [3, 6, 0, 0]
    model.gradient(module["body"](torch.ones(1, 2)).sum())
    assert first.tolist() == [3, 6, 0, 0]
    assert model.grads[0].tolist() == [7] * 6
    mixed = flat(with_head(torch.bfloat16), exclude=("head.bias",))
    answer = mixed.module["head"](mixed.module["body"](torch.ones(1, 2)).bfloat16())
    found = mixed.gradient(answer.float().sum())
    assert found.dtype == torch.float32
    assert [part.abs().sum() > 0 for part in mixed.split(found)] == [True, True]


def test_a_buffer_that_forward_binds_anew_is_read_and_put_back():
    module = nn.Linear(1, 1)
    module.register_buffer("mean", torch.zeros(2))
    model = flat(module)
    module.mean = torch.ones(2)
    assert model.read_buffers().tolist() == [1, 1]
    model.load(model.read(), torch.full((2,), 5.0))
    assert model.read_buffers().tolist() == module.mean.tolist() == [5, 5]


def test_buffers_that_are_not_saved_begin_again():
    module = nn.Linear(1, 1)
    module.register_buffer("cache", torch.zeros(3), persistent=False)
    model = flat(module)
    module.cache.fill_(9)
    model.load(model.read(), model.read_buffers())
    assert module.cache.tolist() == [0, 0, 0]


def test_split_lies_as_the_shared_heads_do():
    model = flat(with_head(torch.bfloat16), exclude=("head.bias",))
    parts = model.split(torch.arange(21.0))
    assert [part.tolist() for part in parts] == [list(range(6)), list(range(6, 21))]
    assert [shared.numel() for shared in model.shared] == [grad.numel() for grad in model.shared_grads] == [6, 15]
    assert model.shared_grads[0].data_ptr() == model.grads[0].data_ptr()


def test_what_is_scratch():
    model = flat(with_head())
    assert model.is_scratch(model.flats[0][2:4])
    assert model.is_scratch(model.module["norm"].running_mean)
    assert not model.is_scratch(model.read())
    assert not model.is_scratch(model.private().get("norm.num_batches_tracked", torch.zeros(1)))


def test_the_whole_is_all_that_learns_and_all_that_is_saved():
    """Exchanged or not, by name, as copies; a part of it can be put back alone."""
    model = flat(with_head(), exclude=("head.*",), buffers="private")
    whole = model.whole()
    assert {name.partition(".")[0] for name in whole} == {"body", "norm", "head"}
    assert {"norm.running_mean", "norm.num_batches_tracked"} <= set(whole)
    for tensor in (*model.flats, model.module["norm"].running_mean, model.module["norm"].num_batches_tracked):
        tensor.fill_(7)
    model.load_whole({name: tensor for name, tensor in whole.items() if not name.startswith("body.")})
    assert torch.equal(model.module["head"].weight, whole["head.weight"])
    assert torch.equal(model.module["norm"].running_mean, whole["norm.running_mean"])
    assert model.module["norm"].num_batches_tracked == 0
    assert model.module["body"].weight.unique().tolist() == [7]


def test_what_learns_comes_as_views():
    model = flat(with_head(), exclude=("head.*",))
    model.learned()["head.bias"].fill_(3)
    assert model.module["head"].bias.tolist() == [3, 3]
