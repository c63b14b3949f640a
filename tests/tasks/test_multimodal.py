"""Classification by whatever is there: losses by hand, the grid, dropout of modalities, and what is refused."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

import raycollab as rc
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.fusion import Concatenation, LateLogits
from raycollab.metrics.subsets import subset_of
from raycollab.models import MLP, TextCNN
from raycollab.params import Exchange, FlatModel
from raycollab.tasks.modalities import dropped

NET = rc.models.Multimodal({"image": MLP(4, 3), "sound": MLP(2, 3)}, Concatenation(6), 3, alone=True)
TASK = rc.tasks.Multimodal(NET, 3)


def columns(count=12):
    generator = torch.Generator().manual_seed(0)
    return {
        "image": torch.randn(count, 4, generator=generator),
        "sound": torch.randn(count, 2, generator=generator),
        "label": torch.arange(count) % 3,
    }


def some_without(count=12):
    """Rows 0 to 5 have both, 6 to 8 the image alone, the others the sound alone."""
    rows = torch.arange(count)
    return {**columns(count), "has_image": rows < 9, "has_sound": ((rows < 6) | (rows > 8)).long()}


def test_the_loss_is_the_weighted_sum_of_each_examples_losses():
    task = replace(TASK, auxiliary=0.5)
    net, batch = task.model(), some_without()
    image, sound = batch["has_image"], batch["has_sound"].bool()
    features = net.encode({name: batch[name] for name in ("image", "sound")}, {"image": image, "sound": sound})
    present = {"image": image, "sound": sound}
    whole = functional.cross_entropy(net.head(net.fusion(features, present)), batch["label"], reduction="none")
    for name, mask in present.items():
        own = functional.cross_entropy(net.alone[name](features[name]), batch["label"], reduction="none")
        whole = whole + 0.5 * own * mask
    torch.testing.assert_close(task.loss(net, batch), whole.mean())


def test_blending_weighs_every_loss():
    net, batch = TASK.model(), columns()
    alone = {name: replace(TASK, blending={name: 1.0}).loss(net, batch) for name in ("fused", "image", "sound")}
    blended = replace(TASK, blending={"fused": 0.2, "image": 0.3, "sound": 0.5}).loss(net, batch)
    expected = 0.2 * alone["fused"] + 0.3 * alone["image"] + 0.5 * alone["sound"]
    torch.testing.assert_close(blended, expected)
    torch.testing.assert_close(alone["fused"], TASK.loss(net, batch))


def test_examples_count_by_their_weight():
    net, batch = TASK.model(), columns()
    weights = torch.tensor([2.0] * 6 + [0.0] * 6)
    half = {name: column[:6] for name, column in batch.items()}
    torch.testing.assert_close(TASK.loss(net, {**batch, "example_weight": weights}), TASK.loss(net, half))


def test_pieces_of_a_batch_have_the_same_loss():
    """What lacks a modality does not change how much others count: micro-batches give the same gradient."""
    task = replace(TASK, auxiliary=0.5)
    net, batch = task.model(), some_without()
    pieces = [{name: column[start : start + 6] for name, column in batch.items()} for start in (0, 6)]
    torch.testing.assert_close(sum(task.loss(net, piece) for piece in pieces) / 2, task.loss(net, batch))


def test_the_grid_counts_each_subset_over_the_rows_that_have_one_of_it():
    task, batch = TASK, some_without()
    net = task.model().eval()
    found = task.statistics(net, batch)
    weights = {subset_of(name): part.weight for name, part in found.parts if subset_of(name)}
    assert weights == {("image",): 9, ("sound",): 9, ("image", "sound"): 12}
    with_image = {name: column[:9] for name, column in batch.items() if name in ("image", "label")}
    metrics = found.compute()
    assert metrics["accuracy[image]"] == task.statistics(net, with_image).compute()["accuracy"]
    assert metrics["accuracy[image+sound]"] == metrics["accuracy"]
    alone = net.alone["image"](net.encode({"image": batch["image"][:9]}, {})["image"])
    assert metrics["loss[image]"] == pytest.approx(functional.cross_entropy(alone, batch["label"][:9]).item(), rel=1e-5)


def test_statistics_merge_over_batches_and_parties():
    net, batch = TASK.model().eval(), some_without()
    pieces = [{name: column[start : start + 4] for name, column in batch.items()} for start in (0, 4, 8)]
    whole, merged = TASK.statistics(net, batch).compute(), TASK.evaluate(net, pieces).compute()
    assert merged == pytest.approx(whole)


def test_a_party_with_one_modality_has_no_others_in_its_grid():
    task = TASK.only("sound")
    found = task.statistics(task.model().eval(), columns()).compute()
    assert {subset_of(name) for name in found if subset_of(name)} == {("sound",)}
    assert task.inputs == ("sound",)


def test_no_grid_if_none_is_asked_for():
    task = replace(TASK, grid=False)
    assert not [name for name in task.statistics(task.model().eval(), columns()).compute() if subset_of(name)]


def test_any_subset_gives_a_prediction():
    net = TASK.model().eval()
    for names in (("image",), ("sound",), ("image", "sound")):
        batch = {name: columns()[name] for name in names}
        assert TASK.predict(net, batch)["prediction"].shape == (12,)
        assert TASK.count(batch) == 12
    assert TASK.features(net, columns()).shape == (12, 6)


def test_there_is_no_one_tensor_of_inputs():
    """So agents learn one at a time, and who asks for it is told."""
    assert not TASK.tells_losses
    with pytest.raises(ModelError, match="several columns by name, not one tensor"):
        TASK.inputs_of(columns())


def test_dropout_takes_each_modality_at_its_rate_and_never_all():
    torch.manual_seed(0)
    values = {name: torch.zeros(20_000, 1) for name in ("image", "sound")}
    kept = dropped(values, {}, 0.4)
    assert bool((kept["image"] | kept["sound"]).all())
    for mask in kept.values():  # dropped while the other stays: 0.4 * 0.6
        assert mask.float().mean().item() == pytest.approx(1 - 0.24, abs=0.01)  # 3 standard errors
    absent = torch.arange(20_000) < 10_000
    kept = dropped(values, {"sound": absent}, 0.4)
    assert not bool((kept["sound"] & ~absent).any())
    assert bool(kept["image"][10_000:].all())


def test_dropout_is_for_training_alone():
    task = replace(TASK, modality_dropout=0.5)
    net, batch = task.model(), columns()
    torch.manual_seed(0)
    losses = {task.loss(net.train(), batch).item() for _ in range(5)}
    assert len(losses) > 1
    assert {task.loss(net.eval(), batch).item() for _ in range(5)} == {TASK.loss(net, batch).item()}


def test_agents_of_a_seed_drop_the_same():
    task = replace(TASK, modality_dropout=0.5)
    net, batch = task.model().train(), columns()
    torch.manual_seed(3)
    first = task.loss(net, batch)
    torch.manual_seed(3)
    assert torch.equal(task.loss(net, batch), first)


def test_modalities_may_have_columns_of_other_names():
    net = rc.models.Multimodal({"image": MLP(4, 3), "text": TextCNN(3, vocab_size=9)}, Concatenation(6), 3)
    task = rc.tasks.Multimodal(net, 3, columns={"text": "title"})
    tokens = torch.tensor([[1, 2, -1], [3, -1, -1], [-1, -1, -1]])
    batch = {"image": torch.randn(3, 4), "title": tokens, "label": torch.arange(3)}
    batch["has_title"] = torch.tensor([True, True, False])
    assert task.inputs == ("image", "title")
    assert task.check(batch, "here").tolist() == [True] * 3
    assert task.loss(task.model(), batch).isfinite()
    assert task.coverage(batch) == "3 of 3 labels, with image 3, text 2"


def test_the_fingerprint_says_what_is_learned():
    spec = FlatModel(TASK.model(), Exchange()).spec
    plain = TASK.fingerprint(spec)
    assert plain.loss == "cross_entropy"
    assert plain.metrics[-3:] == ("accuracy[image]", "accuracy[sound]", "accuracy[image+sound]")
    assert replace(TASK, auxiliary=0.5).fingerprint(spec).loss == "cross_entropy of image times 0.5, sound times 0.5"


def test_rows_without_a_modality_are_left_out_or_refused():
    batch = {**columns(3), "has_image": torch.tensor([1, 0, 0]), "has_sound": torch.tensor([0, 1, 0])}
    with pytest.raises(DataError, match="here: row 2 has none of the modalities image, sound \\(1 such rows\\)"):
        TASK.check(batch, "here")
    assert replace(TASK, bad_rows="drop").check(batch, "here").tolist() == [True, True, False]
    batch["image"][1], batch["sound"][1] = float("nan"), 0.0  # an image that is not there may be anything
    assert replace(TASK, bad_rows="drop").check(batch, "here").tolist() == [True, True, False]
    unknown = {**batch, "label": torch.tensor([3, 0, 0])}
    assert replace(TASK, bad_rows="drop").check(unknown, "here").tolist() == [False, True, False]
    batch["image"][0] = float("nan")
    with pytest.raises(DataError, match="here: row 0 of column 'image' holds NaN"):
        TASK.check(batch, "here")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None, "sound": None}, "holds none of the modalities 'image' .*, 'sound' .*; its columns are: label"),
        ({"label": None}, "the task needs column 'label'"),
        ({"label": torch.arange(12)}, "row 3 has label 3, outside 0..2"),
        ({"image": torch.zeros(12, 4, 4, dtype=torch.uint8)}, "column 'image' holds uint8 of shape .*; give floats"),
        ({"has_image": torch.full((12,), 2)}, "column 'has_image' of shape .* must say with 0 and 1 which rows have"),
    ],
)
def test_data_of_another_form_is_refused(changes, message):
    batch = {name: column for name, column in {**columns(), **changes}.items() if column is not None}
    with pytest.raises(DataError, match=f"here: .*{message}"):
        TASK.check(batch, "here")


def test_an_agent_without_any_known_modality_is_refused(tmp_path):
    """Before the first round, with what it has instead."""
    shard = rc.data.Arrays({"smell": torch.zeros(8, 2), "label": torch.arange(8) % 3}, "nose")
    agent = rc.Agent("nose", shard, rc.SGD())
    with pytest.raises(rc.DataError, match=r"agent 'nose': .*none of the modalities .*; its columns are: label, smell"):
        rc.fit([agent], rc.chain(rc.Mean()), test=rc.data.Arrays(columns()), task=TASK,
               run=rc.RunConfig(num_rounds=1, dir=str(tmp_path)), scaling=rc.ScalingConfig(pool="local"))  # fmt: skip


ENCODERS = {f"m{place}": MLP(2, 3) for place in range(7)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rc.tasks.Multimodal(MLP(4, 3), 3), "Multimodal.net=.*: must be rc.models.Multimodal"),
        (lambda: rc.tasks.Multimodal(NET, 4), "Multimodal.num_classes=4: must be the net's 3"),
        (
            lambda: replace(TASK, columns={"smell": "x"}),
            "columns: modality='smell': has no encoder among: image",
        ),
        (lambda: replace(TASK, auxiliary=-1.0), "Multimodal.auxiliary=-1.0: must be >= 0"),
        (lambda: replace(TASK, blending={"smell": 1.0}), r"blending\['smell'\]=1.0: must be >= 0, and of 'fused' or"),
        (
            lambda: replace(TASK, net=replace(NET, alone=False), auxiliary=0.5),
            "Multimodal.net.alone=False: must be t",
        ),
        (lambda: replace(TASK, modality_dropout=1.0), r"Multimodal.modality_dropout=1.0: must be in \[0, 1\)"),
        (
            lambda: rc.tasks.Multimodal(rc.models.Multimodal(ENCODERS, LateLogits(), 3), 3),
            "Multimodal.grid=True: must be false for more than 6 modalities, of which there are 7",
        ),
        (
            lambda: TASK.only("smell"),
            "Multimodal.only=.*: must name some of the modalities that there are: ima",
        ),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
