"""What each party keeps of the model, and predictions by all of them together."""

import numpy as np
import pytest
import torch

import raycollab as rc
from raycollab.errors import ConfigError, DataError, ModelError, RunFolderError

from .support import fit, parties, people


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("part"), num_rounds=8)


def activations(result):
    _, columns, _ = people()
    return {name: result.part(name).activations({"features": torch.from_numpy(held)}) for name, held in columns.items()}


def test_together_they_predict(result):
    """All people, in the order of their ids: those held out among them."""
    made = result.part("bank").predict(activations(result))
    assert set(made) == {"prediction", "probability"}
    assert (made["prediction"].numpy() == people()[2]).mean() > 0.9


def test_the_head_is_where_the_labels_were(result):
    with pytest.raises(
        ModelError, match="party 'north' cannot predict: the head is with the party that had the labels"
    ):
        result.part("north").predict(activations(result))
    assert not any(each.startswith("top.") for each in _names(result, "north"))
    assert any(each.startswith("top.head.") for each in _names(result, "bank"))


def _names(result, party):
    from safetensors.torch import load_file

    return set(load_file(f"{result.path}/party-{party}/model.safetensors"))


def test_what_cannot_be_predicted(result):
    given = activations(result)
    bank = result.part("bank")
    with pytest.raises(DataError, match=r"predict: got rows .*, and needs as many of each of north, south, bank"):
        bank.predict({name: given[name] for name in ("north", "bank")})
    with pytest.raises(DataError, match="predict: got rows"):
        bank.predict({**given, "south": given["south"][:3]})
    with pytest.raises(DataError, match="party 'bank': the task needs column 'features'; there are: income"):
        bank.activations({"income": torch.zeros(2)})


def test_a_part_that_is_not_there(result, tmp_path):
    with pytest.raises(RunFolderError, match="holds no part of a model; parties here: bank, north, south"):
        rc.vertical.load_part(result.path, "west")
    with pytest.raises(RunFolderError, match=r"parties here: none: has the run ended\?"):
        rc.vertical.load_part(str(tmp_path), "north")


def test_a_damaged_part(tmp_path):
    result = fit(tmp_path, num_rounds=1)
    (tmp_path / "run" / "party-north" / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(RunFolderError, match="party-north is damaged"):
        result.part("north")


def test_a_net_of_another_package_is_trusted_by_name_alone(tmp_path):
    north = {"net": rc.models.Module("torch.nn:Linear", {"in_features": 3, "out_features": 4})}
    result = fit(tmp_path, parties(tmp_path, north=north), num_rounds=1)
    with pytest.raises(ConfigError, match="is not imported unasked"):
        result.part("north")
    part = result.part("north", trusted=("torch",))
    assert part.activations({"features": torch.zeros(2, 3)}).shape == (2, 4)


def test_a_party_with_labels_alone_makes_no_activations(tmp_path):
    result = fit(tmp_path, parties(tmp_path, bank={"net": None}), num_rounds=1)
    with pytest.raises(ModelError, match="party 'bank' has no net: it had labels alone"):
        result.part("bank").activations({"features": torch.zeros(2, 2)})
    made = result.part("bank").predict({name: np.zeros((5, 4), np.float32) for name in ("north", "south")})
    assert len(made["prediction"]) == 5
