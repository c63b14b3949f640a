"""Two views of an image: the loss by hand, which views are drawn when, and what is refused."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.data import Arrays
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import MLP, Headed, Module
from raycollab.params import Exchange, FlatModel
from raycollab.tasks import ColorJitter, RandomCrop, ResizedCrop, SimCLR

NET = Headed(MLP(64, 8, ()), MLP(8, 4, ()))
VIEWS = (ResizedCrop((0.5, 1.0)), ColorJitter(0.2))
TASK = SimCLR(NET, augment=VIEWS, candidates=8)
LOCAL = rc.ScalingConfig(pool="local")


def images(number=20):
    return torch.rand(number, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Fixed(nn.Module):
    """Projects whatever it is given onto vectors that are known."""

    def __init__(self, projections):
        super().__init__()
        self.projections = torch.tensor(projections)

    def forward(self, views):
        return self.projections[: len(views)]


def test_the_loss_by_hand():
    """Two images whose views point along one axis each; cosines are 1 with the other view and 0 with the rest.

    Each of the four views finds its own among three: log(1 + 2 exp(-1/T)), whatever the vectors' lengths.
    """
    net = Fixed([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    for temperature in (0.5, 1.0):
        loss = SimCLR(NET, augment=VIEWS, temperature=temperature).loss(net, {"image": images(2)})
        assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-1 / temperature)), rel=1e-6)


def test_views_that_are_alike_cannot_be_told_apart():
    """All vectors equal: log(3) of three candidates, the view itself not among them."""
    loss = TASK.loss(Fixed([[1.0, 1.0]] * 4), {"image": images(2)})
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)


def test_agrees_with_a_sum_over_pairs():
    """Equation 1 of the paper, written out."""
    torch.manual_seed(0)
    z = torch.randn(10, 3)
    loss = TASK.loss(Fixed(z.tolist()), {"image": images(5)}).item()
    unit = z / z.norm(dim=1, keepdim=True)
    terms = []
    for i in range(10):
        scores = {k: math.exp(float(unit[i] @ unit[k]) / 0.5) for k in range(10) if k != i}
        terms.append(-math.log(scores[(i + 5) % 10] / sum(scores.values())))
    assert loss == pytest.approx(sum(terms) / 10, rel=1e-5)


def test_the_views_of_an_image_differ_and_come_from_torchs_seed():
    torch.manual_seed(1)
    first = TASK.views(images(), fixed=False)
    torch.manual_seed(1)
    again, later = TASK.views(images(), fixed=False), TASK.views(images(), fixed=False)
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.isclose(first[:20], first[20:]).flatten(1).all(1).any()


def test_evaluation_asks_the_same_whatever_torchs_seed_and_leaves_it_as_it_was():
    net = TASK.model().eval()
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        losses.append(TASK.loss(net, {"image": images()}).item())
        drawn = torch.rand(1)
        torch.manual_seed(seed)
        assert torch.equal(drawn, torch.rand(1))
    assert losses[0] == losses[1]
    torch.manual_seed(1)
    trained = TASK.loss(net.train(), {"image": images()}).item()
    assert trained != losses[0]


def test_statistics_are_those_of_groups_and_merge():
    """20 images in groups of 8, 8 and 4: batches that hold whole groups give the same sums."""
    net = TASK.model().eval()
    whole = TASK.evaluate(net, [{"image": images()}]).compute()
    parts = TASK.evaluate(net, [{"image": images()[:16]}, {"image": images()[16:]}]).compute()
    assert whole["accuracy"] == parts["accuracy"]
    assert whole["loss"] == pytest.approx(parts["loss"], rel=1e-6)
    by_hand = [TASK.loss(net, {"image": group}).item() * len(group) for group in images().split(8)]
    assert whole["loss"] == pytest.approx(sum(by_hand) / 20, rel=1e-5)


def test_accuracy_counts_views_whose_nearest_is_their_own():
    """Of four views one, the second image's first, lies nearer to the other image's."""
    net = Fixed([[1.0, 0.0], [1.0, 0.2], [1.0, 0.01], [0.0, 1.0]])
    found = TASK.statistics(net, {"image": images(2)}).compute()
    assert found["accuracy"] == 0.75


def test_an_image_left_over_counts_nothing():
    net = TASK.model().eval()
    found = TASK.statistics(net, {"image": images(9)}).compute()
    assert found == TASK.statistics(net, {"image": images(8)}).compute()
    assert math.isnan(TASK.statistics(net, {"image": images(1)}).compute()["loss"])


def test_labels_and_other_columns_change_nothing():
    net = TASK.model().eval()
    more = {"label": torch.arange(20), "image": images(), "other": torch.zeros(20)}
    assert torch.equal(TASK.loss(net, more), TASK.loss(net, {"image": images()}))
    assert TASK.statistics(net, more) == TASK.statistics(net, {"image": images()})


def test_under_autocast_cosines_stay_float32():
    net = TASK.model().eval()
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = TASK.told_apart(net, TASK.views(images(), fixed=True))
    assert logits.dtype == torch.float32


def test_embeddings_are_the_trunks_outputs_for_images_as_they_are():
    net = TASK.model().eval()
    assert torch.equal(TASK.predict(net, {"image": images()})["embedding"], net.trunk(images()))
    assert torch.equal(TASK.features(net, {"image": images()}), net.trunk(images()))


def test_pretrain_then_probe(tmp_path):
    """The probe starts from the pretrained trunk, with a head of its own, and leaves the trunk as it is."""
    data = Arrays({"image": images(), "label": torch.arange(20) % 2})

    def experiment(task):
        agents = rc.Split(data, rc.IID(num_parts=2), (rc.SGD(lr=0.1, batch_size=5, drop_last=True),))
        return rc.Experiment(task, agents, (rc.Mean(),), data, run=rc.RunConfig(num_rounds=2, dir=str(tmp_path)),
                             scaling=LOCAL)  # fmt: skip

    linear = rc.models.Frozen(Headed(MLP(64, 8, ()), MLP(8, 2, ())), ("trunk.*",))
    stages = rc.run_stages({"pretrain": experiment(TASK), "probe": experiment(rc.ImageClassification(linear, 2))})
    before, after = (rc.load(result.path).module.state_dict() for result in stages.results.values())
    assert torch.equal(before["trunk.1.weight"], after["trunk.1.weight"])
    assert after["head.1.weight"].shape == (2, 8)
    assert stages.results["pretrain"].history[-1]["loss"] > 0


def test_rounds_have_the_same_bits_on_any_hosts(tmp_path):
    files = []
    for per_host in (1, 2):
        agents = [rc.Agent(f"a{i}", Arrays({"image": images()}), rc.SGD(lr=0.1, batch_size=9)) for i in range(2)]
        run = rc.RunConfig(num_rounds=2, dir=str(tmp_path), name=f"of-{per_host}")
        scaling = rc.ScalingConfig(pool="local", agents_per_host=per_host)
        result = rc.fit(agents, rc.Mean(), test=Arrays({"image": images()}), task=TASK, run=run, scaling=scaling)
        files.append(Path(result.path, "model", "model.safetensors").read_bytes())
    assert files[0] == files[1]
    losses = [row["loss"] for row in result.agents if row["round"] == 1]
    assert losses[0] != losses[1]  # the same images, other views


def test_fingerprint():
    found = TASK.fingerprint(FlatModel(TASK.model(), Exchange()).spec)
    assert found.loss == "nt_xent(temperature=0.5)"
    assert found.metrics == ("loss", "accuracy")
    assert [name for name, _ in found.exchanged] == ["trunk.1.weight", "trunk.1.bias", "head.1.weight", "head.1.bias"]


# ---- what is refused


def test_a_batch_or_a_shard_of_one_image():
    with pytest.raises(
        DataError, match=r"this batch: SimCLR tells examples apart .* there is only 1: .* drop_last=True"
    ):
        TASK.loss(TASK.model(), {"image": images(1)})
    with pytest.raises(DataError, match="here: SimCLR tells examples apart from each other, and there is only 1"):
        TASK.check({"image": images(1)}, "here")
    assert TASK.check({"image": images(2)}, "here").all()


def test_images_that_are_too_small():
    task = SimCLR(NET, augment=(RandomCrop(8, mode="reflect"),))
    with pytest.raises(
        DataError, match=r"here: images of 8x8 pixels are too small for RandomCrop\(padding=8, .* of 9 o"
    ):
        task.check({"image": images()}, "here")
    with pytest.raises(
        DataError, match=r"images of 3x9 pixels are too small for ResizedCrop\(.* needs sides of 4 or m"
    ):
        TASK.check({"image": torch.zeros(4, 1, 3, 9)}, "here")
    assert TASK.check({"image": torch.zeros(4, 1, 4, 9)}, "here").all()


def test_columns_of_another_form():
    with pytest.raises(DataError, match="here: the task needs column 'image'; there are: label"):
        TASK.check({"label": torch.zeros(2)}, "here")
    for column, held in ((torch.zeros(4, 64), r"float32 of shape \[4, 64\]"),
                         (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), r"uint8 of shape \[4, 1, 8, 8\]")):  # fmt: skip
        with pytest.raises(DataError, match=f"here: column 'image' holds {held}; images are floats"):
            TASK.check({"image": column}, "here")
    bad = images()
    bad[3, 0, 2, 2] = torch.nan
    with pytest.raises(DataError, match="row 3 of column 'image' holds NaN or infinity"):
        TASK.check({"image": bad}, "here")
    assert SimCLR(NET, bad_rows="drop", augment=VIEWS).check({"image": bad}, "here").sum() == 19


def test_nets_of_another_form():
    with pytest.raises(
        ModelError, match=r"SimCLR: the net has no part `trunk`, .* give rc.models.Headed\(trunk, head\)"
    ):
        SimCLR(MLP(64, 4), augment=VIEWS).model()
    flat = Headed(Module(nn.Identity), Module(nn.Identity))
    with pytest.raises(ModelError, match=r"output has shape \[4, 1, 8, 8\]; it needs \[4, p\], a vector for each view"):
        SimCLR(flat, augment=VIEWS).loss(flat.build(), {"image": images(2)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"net": "cnn"}, r"SimCLR.net='cnn': must be a recipe such as rc.models.Headed\("),
        ({"augment": ()}, r"SimCLR.augment=\(\): must hold augmentations such as rc.tasks.ResizedCrop\(\), by which"),
        ({"augment": ("crop",)}, r"SimCLR.augment=\('crop',\): must hold augmentations"),
        ({"temperature": 0.0}, "SimCLR.temperature=0.0: must be > 0"),
        ({"candidates": 1}, "SimCLR.candidates=1: must be >= 2"),
        ({"bad_rows": "skip"}, "SimCLR.bad_rows='skip': must be 'error' or 'drop'"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        SimCLR(**{"net": NET, "augment": VIEWS, **settings})
