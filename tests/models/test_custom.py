import pickle

import pytest
import torch
from torch import nn

from raycollab.errors import ConfigError, ModelError
from raycollab.models import Module


def test_a_class_and_its_name_make_the_same():
    for target in (nn.Linear, "torch.nn:Linear"):
        module = Module(target, {"in_features": 2, "out_features": 3}).build()
        assert isinstance(module, nn.Linear)
        assert module.weight.shape == (3, 2)


def test_a_method_of_a_class_is_named_with_a_dot():
    assert Module("torch.nn:Embedding.from_pretrained", {"embeddings": torch.zeros(2, 3)}).build().weight.shape == (
        2,
        3,
    )


def test_travels():
    recipe = Module("torch.nn:Linear", {"in_features": 2, "out_features": 3})
    assert pickle.loads(pickle.dumps(recipe)) == recipe


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("torch.nn.Linear", "write 'package.module:Name'"),
        ("torch.nn:Liner", "has no attribute 'Liner'"),
        ("no_such_package:Net", "No module named 'no_such_package'"),
        (":Net", "write 'package.module:Name'"),
        ("torch:os.system", "'os' is a module"),
    ],
)
def test_a_target_that_cannot_be_imported(target, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Module(target).build()
    assert str(caught.value).startswith(f"Module.target={target!r}: ")


def test_something_else_than_a_module():
    with pytest.raises(ModelError, match=r"Module.target='builtins:dict' made a dict, not a torch.nn.Module"):
        Module("builtins:dict").build()
