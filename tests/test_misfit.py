import pytest
import torch

from raycollab.errors import DataError, ModelError
from raycollab.misfit import described, explained, inputs_of, remedy
from raycollab.models import CNN, MLP, Module
from raycollab.tasks import ImageClassification

IMAGES = torch.zeros(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("net", "column", "expected"),
    [
        (MLP(32, 10), IMAGES, "set num_features=192"),
        (CNN(10, size=8, channels=(2,)), IMAGES, "set in_channels=3"),
        (CNN(10, channels=(2,)), IMAGES, "set in_channels=3 and size=8"),
        (CNN(10), torch.zeros(2, 784), "the shape of one example, such as `shapes: {image: [1, 28, 28]}`"),
        (MLP(784, 10), torch.zeros(2, 784, dtype=torch.uint8), "such as `shapes: {image: [1, 28, 28]}`"),
        (MLP(784, 10), torch.zeros(2, 3072, dtype=torch.uint8), "such as `shapes: {image: [3, 32, 32]}`"),
        (MLP(784, 10), torch.zeros(2, 7, dtype=torch.uint8), "such as `shapes: {image: [CHANNELS, HEIGHT, WIDTH]}`"),
        (MLP(192, 10), IMAGES.byte(), "give 'image' as float32, divided by 255"),
        (MLP(192, 10), IMAGES.double(), "give 'image' as float32"),
        (MLP(192, 10), IMAGES, "change the net, or the form of the data"),
        (Module("torch.nn:Linear"), IMAGES, "change the net, or the form of the data"),
    ],
)
def test_remedy(net, column, expected):
    assert remedy(net, {"image": column}).endswith(expected)


def test_what_a_net_is_given():
    task = ImageClassification(MLP(192, 10), 10)
    columns = {"image": IMAGES, "label": torch.zeros(2), "id": torch.zeros(2)}
    assert described(inputs_of(task, columns)) == "column 'image' (float32 [n, 3, 8, 8])"
    assert list(inputs_of(object(), columns)) == ["image", "label", "id"]


def test_only_what_a_net_raises_is_explained():
    with (
        pytest.raises(ModelError, match=r"^it broke: first line; mend it$"),
        explained(ModelError, "it broke", "mend it"),
    ):
        raise RuntimeError("first line\nsecond line")
    for error in (DataError("ours"), KeyError("a mistake in a task"), torch.OutOfMemoryError("no memory")):
        with pytest.raises(type(error)) as caught, explained(ModelError, "", ""):
            raise error
        assert caught.value is error
