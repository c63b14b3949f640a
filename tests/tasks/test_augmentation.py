import math

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.data import Arrays
from raycollab.errors import ConfigError
from raycollab.models import MLP, Module
from raycollab.tasks import (
    ColorJitter,
    Cutout,
    GaussianBlur,
    HorizontalFlip,
    ImageClassification,
    RandomAffine,
    RandomCrop,
    ResizedCrop,
)

ALL = (RandomCrop(2), HorizontalFlip(), Cutout(3), ResizedCrop(), ColorJitter(), GaussianBlur(), RandomAffine())
KINDS = [*ALL, RandomCrop(2, mode="reflect")]
IMAGES = torch.arange(1.0, 1 + 64 * 2 * 6 * 5).reshape(64, 2, 6, 5)  # no pixel is 0, none twice


def drawn(augmentation, images=IMAGES, seed=0):
    torch.manual_seed(seed)
    return augmentation.apply(images)


@pytest.mark.parametrize("augmentation", KINDS, ids=repr)
def test_a_seed_gives_the_same_images_and_the_given_ones_stay(augmentation):
    before = IMAGES.clone()
    first, again, other = drawn(augmentation), drawn(augmentation), drawn(augmentation, seed=1)
    assert first.shape == IMAGES.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(IMAGES, before)
    assert len({str(one - image) for one, image in zip(first, IMAGES, strict=True)}) > 1  # not all images alike


def test_a_crop_is_a_piece_of_the_padded_image():
    """Each result is one of the 25 pieces, all channels alike, and all 25 occur."""
    images = IMAGES[:1].expand(500, -1, -1, -1)
    padded = nn.functional.pad(IMAGES[0], (2, 2, 2, 2))
    pieces = [padded[:, y : y + 6, x : x + 5] for y in range(5) for x in range(5)]
    found = [
        next(i for i, piece in enumerate(pieces) if torch.equal(piece, one)) for one in drawn(RandomCrop(2), images)
    ]
    assert set(found) == set(range(25))


def test_a_crop_that_mirrors_holds_no_zeros():
    assert (drawn(RandomCrop(2, mode="reflect")) > 0).all()


def test_a_flip_mirrors_some_and_leaves_others():
    found = drawn(HorizontalFlip())
    mirrored = (found == IMAGES.flip(3)).flatten(1).all(1)
    same = (found == IMAGES).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 16 < mirrored.sum() < 48
    assert torch.equal(drawn(HorizontalFlip(1.0)), IMAGES.flip(3))


def test_a_square_is_cut_out_of_all_channels():
    """Zeros are a rectangle of at most 3x3, at the edges less; somewhere it is whole."""
    gone = drawn(Cutout(3)) == 0
    assert torch.equal(gone[:, 0], gone[:, 1])
    rows, columns = gone[:, 0].any(2), gone[:, 0].any(1)
    assert torch.equal(gone[:, 0], rows[:, :, None] & columns[:, None, :])
    assert rows.sum(1).max() == columns.sum(1).max() == 3
    assert (gone[:, 0].sum((1, 2)) >= 1).all()
    assert torch.equal(drawn(Cutout(3)).masked_fill(gone, -1), IMAGES.masked_fill(gone, -1))


def test_a_whole_piece_is_the_image_itself():
    """The whole area in the image's own shape: every pixel is read off at its middle."""
    torch.testing.assert_close(drawn(ResizedCrop((1.0, 1.0), (1.0, 1.0))), IMAGES, rtol=1e-6, atol=1e-4)


def test_a_quarter_of_a_slope_is_a_slope_of_half_the_rise():
    """A quarter of the area in the image's shape is half as wide: values that rise by 1 a pixel then rise by 1/2.

    Of 8 pixels, 4 are in the piece; read off at 8 places it is never beyond the image's first and last value.
    """
    slope = torch.arange(8.0).expand(200, 1, 8, 8)
    found = drawn(ResizedCrop((0.25, 0.25), (1.0, 1.0)), slope)
    inside = (found[..., 1:] - found[..., :-1])[:, 0, 0, 1:-1]  # at the image's edge the first and last step are less
    torch.testing.assert_close(inside, torch.full_like(inside, 0.5), rtol=0, atol=1e-4)
    assert 0 <= found.min() < 0.2
    assert 6.8 < found.max() <= 7
    starts = found[:, 0, 0, 1]
    assert starts.std() > 0.8  # of 0.75 to 4.75, evenly: 4 / sqrt(12) = 1.15


def test_pieces_are_of_any_size_and_shape():
    """Steps of a slope across and down give a piece's sides back: area and ratio stay within their bounds."""
    across = torch.arange(32.0).expand(300, 1, 32, 32)
    both = torch.cat([across, across.transpose(2, 3)], 1)
    found = drawn(ResizedCrop((0.2, 0.6), (0.5, 2.0)), both)
    wide, high = found[:, 0, 16, 17] - found[:, 0, 16, 16], found[:, 1, 17, 16] - found[:, 1, 16, 16]
    area, ratio = wide * high, wide / high
    whole = (wide > 0.999) | (high > 0.999)  # where a piece would be longer than the image
    assert 0.2 - 1e-3 < area[~whole].min() < 0.25
    assert 0.55 < area[~whole].max() < 0.6 + 1e-3
    assert 0.5 - 1e-3 < ratio.min() < 0.55
    assert 1.8 < ratio.max() < 2 + 1e-2


def test_brightness_is_added_and_contrast_keeps_the_mean():
    images = torch.rand(400, 1, 4, 4)
    shifted = drawn(ColorJitter(0.3, 0.0, 0.0), images) - images
    assert shifted.flatten(1).std(1).max() < 1e-5
    assert -0.3 <= shifted.min() < -0.28
    assert 0.28 < shifted.max() <= 0.3
    spread = drawn(ColorJitter(0.0, 0.5, 0.0), images)
    torch.testing.assert_close(spread.mean((1, 2, 3)), images.mean((1, 2, 3)))
    factors = spread.flatten(1).std(1) / images.flatten(1).std(1)
    assert 0.5 - 1e-4 < factors.min() < 0.53
    assert 1.47 < factors.max() < 1.5 + 1e-4


def test_saturation_keeps_gray():
    """0.299 red + 0.587 green + 0.114 blue stays; a gray image stays as it is, and so does one without colours."""
    images = torch.rand(50, 3, 4, 4)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    found = drawn(ColorJitter(0.0, 0.0, 0.9), images)
    torch.testing.assert_close((found * luma).sum(1), (images * luma).sum(1))
    assert not torch.allclose(found, images, atol=0.1)
    for same in (images[:, :1].expand(-1, 3, -1, -1), images[:, :1]):
        torch.testing.assert_close(drawn(ColorJitter(0.0, 0.0, 0.9), same), same)


def test_a_blurred_point_is_a_gaussian():
    """Sigma 1: beside the middle exp(-1/2) of it, along a diagonal exp(-1); sums stay, plain images too."""
    point = torch.zeros(3, 1, 15, 15)
    point[:, :, 7, 7] = 1
    found = drawn(GaussianBlur(1.0, (1.0, 1.0)), point)[0, 0]
    assert found.sum().item() == pytest.approx(1, abs=1e-5)
    assert (found[7, 8] / found[7, 7]).item() == pytest.approx(math.exp(-0.5), rel=1e-4)
    assert (found[8, 8] / found[7, 7]).item() == pytest.approx(math.exp(-1), rel=1e-4)
    plain = torch.full((2, 2, 6, 5), 3.0)
    torch.testing.assert_close(drawn(GaussianBlur(1.0), plain), plain)


def test_a_blur_changes_about_half_of_the_images():
    same = (drawn(GaussianBlur(0.5, (1.0, 2.0))) == IMAGES).flatten(1).all(1)
    assert 16 < same.sum() < 48


def test_how_small_images_may_be():
    """A crop of 0.2 of the area, 3 by 4: sqrt(0.2 * 3/4) = 0.387 of a side, and two pixels are 5.2 times less."""
    assert ResizedCrop().smallest == 6
    assert ResizedCrop((0.08, 1.0)).smallest == 9
    assert RandomCrop(2, mode="reflect").smallest == 3
    assert [each.smallest for each in (RandomCrop(2), HorizontalFlip(), Cutout(3), GaussianBlur())] == [1] * 4


def test_bytes_stay_bytes():
    images = torch.full((4, 1, 6, 6), 200, dtype=torch.uint8)
    for augmentation in ALL:
        assert drawn(augmentation, images).dtype == torch.uint8


def test_only_training_sees_them():
    task, plain = (ImageClassification(Module(nn.Flatten), 60, augment=augment) for augment in (ALL, ()))
    batch = {"image": IMAGES, "label": torch.zeros(64, dtype=torch.int64)}
    model = nn.Flatten()
    torch.manual_seed(0)
    assert task.loss(model.train(), batch) != plain.loss(model, batch)
    model.eval()
    assert torch.equal(task.loss(model, batch), plain.loss(model, batch))
    assert task.statistics(model, batch) == plain.statistics(model, batch)
    for name, values in task.predict(model, batch).items():
        assert torch.equal(values, plain.predict(model, batch)[name])


def test_agents_with_augmentations_learn_one_at_a_time():
    assert ImageClassification(MLP(4, 2), 2).tells_losses
    assert not ImageClassification(MLP(4, 2), 2, augment=ALL).tells_losses


def fitted(tmp_path, name, agents_per_host):
    labels = torch.arange(24) % 3
    images = torch.randn(24, 1, 6, 6, generator=torch.Generator().manual_seed(0)) + labels.view(-1, 1, 1, 1)
    source = Arrays({"image": images, "label": labels})
    task = ImageClassification(MLP(36, 3), 3, augment=ALL)
    shards = source.split(rc.IID(num_parts=4))
    result = rc.fit(
        [rc.Agent(f"party-{i}", shard, rc.SGD(batch_size=4), val_fraction=0.0) for i, shard in enumerate(shards)],
        rc.Mean(),
        task=task,
        test=source,
        run=rc.RunConfig(num_rounds=2, dir=str(tmp_path), name=name),
        scaling=rc.ScalingConfig(pool="local", agents_per_host=agents_per_host),
    )
    return result.model(task).module.state_dict()


def test_sharing_a_host_changes_no_draw(tmp_path):
    one, four = fitted(tmp_path, "one", 1), fitted(tmp_path, "four", 4)
    assert all(torch.equal(tensor, four[name]) for name, tensor in one.items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(0), "RandomCrop.padding=0: must be >= 1 pixels"),
        (lambda: RandomCrop(mode="wrap"), "RandomCrop.mode='wrap': must be 'constant' or 'reflect'"),
        (lambda: HorizontalFlip(0.0), r"HorizontalFlip.probability=0.0: must be in \(0, 1\]"),
        (lambda: Cutout(0), "Cutout.size=0: must be >= 1 pixels"),
        (lambda: ResizedCrop(scale=(0.0, 1.0)), r"ResizedCrop.scale=\(0.0, 1.0\): must be two numbers in \(0, 1\]"),
        (
            lambda: ResizedCrop(ratio=(2.0, 1.0)),
            r"ResizedCrop.ratio=\(2.0, 1.0\): must be two numbers in \(0, inf\], the sm",
        ),
        (lambda: ColorJitter(brightness=-1.0), "ColorJitter.brightness=-1.0: must be >= 0"),
        (lambda: ColorJitter(contrast=1.0), r"ColorJitter.contrast=1.0: must be in \[0, 1\)"),
        (lambda: GaussianBlur(0.0), r"GaussianBlur.probability=0.0: must be in \(0, 1\]"),
        (lambda: GaussianBlur(sigma=(0.0, 1.0)), r"GaussianBlur.sigma=\(0.0, 1.0\): must be two widths > 0"),
        (lambda: ImageClassification(MLP(4, 2), 2, augment=("flip",)), "ImageClassification.augment='flip': must hold"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
