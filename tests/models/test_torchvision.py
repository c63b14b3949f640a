import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import squeezenet1_1

from raycollab.errors import ConfigError, ModelError
from raycollab.models import Pretrained, Torchvision
from raycollab.recipe import from_plain, to_plain


def test_a_model_is_torchvisions_own(tmp_path):
    torch.manual_seed(0)
    own = squeezenet1_1(num_classes=5)
    torch.manual_seed(0)
    module = Torchvision("squeezenet1_1", 5).build()
    state = own.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    assert from_plain(to_plain(Torchvision("squeezenet1_1", 5))) == Torchvision("squeezenet1_1", 5)
    save_file(state, tmp_path / "weights.safetensors")
    other = Pretrained(Torchvision("squeezenet1_1", 7), str(tmp_path / "weights.safetensors"), fresh=("classifier.*",))
    assert torch.equal(other.build().features[0].weight, state["features.0.weight"])


def test_detection_models_are_there_and_download_nothing():
    module = Torchvision("ssdlite320_mobilenet_v3_large", 3).build()
    assert not any(p.isnan().any() for p in module.parameters())


def test_one_output_in_training_too():
    module = Torchvision("googlenet", 4).build().train()
    assert module(torch.zeros(2, 3, 64, 64)).shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", r"of this name; near it are: .*resnet18.*; torchvision.models.list_models\(\) prints all"),
        ("ResNet-18", "near it are: .*resnet18"),
        ("maskrcnn_resnet50_fpn", "torchvision has no classification or detection model of this name"),
        ("zzz", r"there are \d+, such as resnet18 and vit_b_16"),
    ],
)
def test_an_unknown_name_lists_its_neighbours(name, message):
    with pytest.raises(ModelError, match=message):
        Torchvision(name, 10).build()


def test_an_unknown_argument():
    with pytest.raises(ModelError, match=r"Torchvision\('squeezenet1_1'\).args={'layers': 3}: .*'layers'"):
        Torchvision("squeezenet1_1", 10, {"layers": 3}).build()


def test_refuses():
    with pytest.raises(ConfigError, match=r"Torchvision.num_outputs=0: must be >= 1"):
        Torchvision("resnet18", 0)
