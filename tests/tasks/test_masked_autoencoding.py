"""Hidden patches: the loss by hand, which are hidden when, and what is refused."""

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.data import Arrays
from raycollab.errors import ConfigError, DataError
from raycollab.models import Headed, MaskedAutoencoder, ViT
from raycollab.models.vit import patches_of
from raycollab.params import Exchange, FlatModel
from raycollab.tasks import MaskedAutoencoding

TRUNK = ViT(size=8, patch=2, width=8, num_layers=1, num_heads=2)  # 16 patches of 4 values
NET = MaskedAutoencoder(TRUNK, width=8, num_heads=2)
TASK = MaskedAutoencoding(NET)


def images(number=12):
    return torch.rand(number, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Says(nn.Module):
    """Says one value of all patches."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, images, seen):
        return torch.full((len(images), 16, 4), self.value)


def test_the_loss_by_hand():
    """Images of 3 throughout, predicted as 1: each hidden value is wrong by 2, so 4."""
    plain = {"image": torch.full((5, 1, 8, 8), 3.0)}
    assert TASK.loss(Says(1.0), plain).item() == 4.0
    assert TASK.statistics(Says(1.0), plain).compute() == {"loss": 4.0}


def test_only_hidden_patches_count():
    """A net that says 0: the mean square of the values of the 12 patches that come last in the order."""
    batch = {"image": images()}
    order = TASK.order(images(), fixed=True)
    hidden = [patches_of(image[None], 2)[0][row[4:]] for image, row in zip(images(), order, strict=True)]
    expected = torch.stack(hidden).square().mean().item()
    assert TASK.loss(Says(0.0).eval(), batch).item() == pytest.approx(expected, rel=1e-6)


def test_three_in_four_are_hidden():
    for fixed in (True, False):
        order = TASK.order(images(), fixed=fixed)
        assert (order.sort(1).values == torch.arange(16)).all()
    _, targets = TASK.predicted(TASK.model().eval(), {"image": images()})
    assert targets.shape == (12, 12, 4)
    _, targets = MaskedAutoencoding(NET, share=0.3).predicted(TASK.model().eval(), {"image": images()})
    assert targets.shape == (12, 5, 4)


def test_every_patch_is_hidden_as_often():
    """Of 4,000 images; a standard deviation of a share of 0.75 is 0.007. The images' own values choose as evenly."""
    many = torch.rand(4000, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    for fixed, width in ((True, 0.12), (False, 0.04)):  # 256 orders: 0.027 of each patch
        hidden = torch.zeros(16).index_add(0, TASK.order(many, fixed=fixed)[:, 4:].flatten(), torch.ones(48_000)) / 4000
        assert (hidden - 0.75).abs().max() < width
        assert len({tuple(row) for row in TASK.order(many, fixed=fixed)[:, :4].sort(1).values.tolist()}) > 200


def test_what_is_hidden_changes_nothing_of_what_is_said():
    """The net is given other values in the patches that it cannot see."""
    net = TASK.model().eval()
    order = TASK.order(images(), fixed=True)
    hidden = order[:, 4:]
    patches = patches_of(images(), 2)
    other = patches.scatter(1, hidden[:, :, None].expand(-1, -1, 4), 9.0)
    changed = nn.functional.fold(other.transpose(1, 2), 8, 2, stride=2)
    seen = order[:, :4]
    assert torch.equal(net(images(), seen), net(changed, seen))
    assert not torch.equal(net(images(), hidden[:, :4]), net(changed, hidden[:, :4]))


def test_training_draws_from_torchs_seed_and_evaluation_does_not():
    net = TASK.model()
    losses = [(torch.manual_seed(seed), TASK.loss(net.train(), {"image": images()}).item())[1] for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    losses = [(torch.manual_seed(seed), TASK.loss(net.eval(), {"image": images()}).item())[1] for seed in (1, 2)]
    assert losses[0] == losses[1]


def test_evaluation_asks_the_same_however_images_are_batched():
    net = TASK.model().eval()
    whole = TASK.evaluate(net, [{"image": images()}]).compute()["loss"]
    parts = TASK.evaluate(net, [{"image": part} for part in images().flip(0).split(5)]).compute()["loss"]
    assert whole == pytest.approx(parts, rel=1e-5)
    orders = TASK.order(images(), fixed=True)
    assert torch.equal(orders[3:4], TASK.order(images()[3:4], fixed=True))


def test_it_learns_and_a_probe_takes_over_the_trunk(tmp_path):
    """Images of one value each: what is seen says what is hidden."""
    shade = torch.rand(48, 1, 1, 1, generator=torch.Generator().manual_seed(3))
    data = Arrays({"image": shade.expand(-1, 1, 8, 8).contiguous(), "label": (shade.flatten() > 0.5).long()})

    def experiment(task, rounds):
        agents = rc.Split(data, rc.IID(num_parts=2), (rc.Optimizer("AdamW", {"lr": 0.01}, batch_size=8),))
        run = rc.RunConfig(num_rounds=rounds, dir=str(tmp_path))
        return rc.Experiment(task, agents, (rc.Mean(),), data, run=run, scaling=rc.ScalingConfig(pool="local"))

    linear = rc.models.Frozen(Headed(TRUNK, rc.models.MLP(8, 2, ())), ("trunk.*",))
    stages = rc.run_stages({"pretrain": experiment(TASK, 6), "probe": experiment(rc.ImageClassification(linear, 2), 1)})
    history = stages.results["pretrain"].history
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    before, after = (rc.load(result.path).module.state_dict() for result in stages.results.values())
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("trunk."))


def test_embeddings_are_the_trunks_outputs_for_whole_images():
    net = TASK.model().eval()
    assert torch.equal(TASK.predict(net, {"image": images()})["embedding"], net.trunk(images()))
    assert TASK.features(net, {"image": images()}).shape == (12, 8)


def test_fingerprint():
    found = TASK.fingerprint(FlatModel(TASK.model(), Exchange()).spec)
    assert found.loss == "hidden_patches_squared_error(share=0.75, patch=2)"
    assert found.metrics == ("loss",)
    assert {name.partition(".")[0] for name, _ in found.exchanged} == {"trunk", "head"}


# ---- what is refused


def test_columns_of_another_form():
    assert TASK.check({"image": images()}, "here").all()
    with pytest.raises(
        DataError, match=r"here: column 'image' holds images of shape \[3, 8, 8\], .* for \[1, 8, 8\]: set"
    ):
        TASK.check({"image": torch.zeros(4, 3, 8, 8)}, "here")
    with pytest.raises(DataError, match="here: the task needs column 'image'; there are: label"):
        TASK.check({"label": torch.zeros(2)}, "here")
    with pytest.raises(DataError, match=r"here: column 'image' holds float32 of shape \[4, 64\]; images are floats"):
        TASK.check({"image": torch.zeros(4, 64)}, "here")
    bad = images()
    bad[2, 0, 0, 0] = torch.inf
    with pytest.raises(DataError, match="row 2 of column 'image' holds NaN or infinity"):
        TASK.check({"image": bad}, "here")
    assert MaskedAutoencoding(NET, bad_rows="drop").check({"image": bad}, "here").sum() == 11


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"net": TRUNK},
            r"MaskedAutoencoding.net=ViT\(.*must be a recipe such as rc.models.MaskedAutoencoder\(rc.models",
        ),
        (
            {"share": 1.0},
            r"MaskedAutoencoding.share=1.0: must be in \(0, 1\) and leave some of the net's 16 patches to",
        ),
        ({"share": 0.99}, "MaskedAutoencoding.share=0.99: must be in"),
        ({"share": 0.01}, "MaskedAutoencoding.share=0.01: must be in"),
        ({"bad_rows": "skip"}, "MaskedAutoencoding.bad_rows='skip': must be 'error' or 'drop'"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        MaskedAutoencoding(**{"net": NET, **settings})
