import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import csv, feather
from safetensors.torch import load_file, save_file
from torch import nn

from raycollab.data import Arrays, Parquet
from raycollab.deploy import AS_IT_IS, TrainedModel, load_model, save_model
from raycollab.errors import ConfigError, DataError, ModelError, RunFolderError
from raycollab.models import CNN, MLP, Model, Module
from raycollab.params import Exchange, FlatModel
from raycollab.predicting import predict_file
from raycollab.recipe import to_plain
from raycollab.storage import Storage
from raycollab.tasks import Classification, ImageClassification

TASK = Classification(MLP(3, 2, (4,)), 2)
IMAGES = ImageClassification(CNN(3, size=4, channels=(2,), hidden=3, batch_norm=True), 3)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


@dataclass(frozen=True)
class TiedNet(Model):
    def build(self):
        return Tied()


READER = Parquet("data.parquet", shapes={"features": (3,)}, scale=128.0)


def saved(tmp_path, task, module=None, facts=None):
    torch.manual_seed(1)
    module = task.model() if module is None else module
    save_model(Storage(str(tmp_path / "model")), task, module, card="# card", facts=facts or {})
    return module


def test_round_trip(tmp_path):
    module = saved(tmp_path, TASK, facts={"metrics": {"accuracy": 0.5}, "reader": to_plain(READER)})
    for path in (tmp_path, tmp_path / "model"):
        model = load_model(str(path))
        assert model.task == TASK
        assert model.reader == READER
        assert not model.module.training
        x = torch.randn(5, 3)
        assert torch.equal(model.module(x), module(x))
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["metrics"] == {"accuracy": 0.5}
    assert (tmp_path / "model" / "README.md").read_text() == "# card"


def test_batch_norm_keeps_its_statistics_and_its_count(tmp_path):
    module = IMAGES.model()
    for _ in range(3):
        module(torch.randn(8, 1, 4, 4) * 3 + 1)
    saved(tmp_path, IMAGES, module)
    again = load_model(str(tmp_path)).module
    assert again[1].num_batches_tracked == 3
    assert torch.equal(again[1].running_mean, module[1].running_mean)
    x = torch.randn(5, 1, 4, 4)
    assert torch.equal(again(x), module.eval()(x))


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    task = Classification(TiedNet(), 3)
    module = saved(tmp_path, task)
    assert list(load_file(tmp_path / "model" / "model.safetensors")) == ["first.weight"]
    again = load_model(str(tmp_path), task=task).module
    assert again.first.weight is again.second.weight
    assert torch.equal(again.second.weight, module.first.weight)


@pytest.mark.parametrize("task", [TASK, IMAGES, Classification(TiedNet(), 3)])
def test_a_module_whose_parameters_are_views_of_one_buffer(tmp_path, task):
    module = FlatModel(task.model(), Exchange()).module
    saved(tmp_path, task, module)
    again = load_model(str(tmp_path), task=task).module
    expected = module.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())
    size = sum(p.numel() for p in module.parameters()) * 4
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < size + 4096


def test_there_is_no_model(tmp_path):
    with pytest.raises(
        RunFolderError, match=r"holds no model: neither model.safetensors nor model/model.safetensors is"
    ):
        load_model(str(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_damaged_files_are_named(tmp_path, name):
    saved(tmp_path, TASK)
    (tmp_path / "model" / name).write_bytes(b"{ torn")
    with pytest.raises(RunFolderError, match=f"{tmp_path}/model is damaged: "):
        load_model(str(tmp_path))


def test_weights_of_another_shape(tmp_path):
    saved(tmp_path, TASK)
    with pytest.raises(ModelError, match=r"'1.bias' has shape \[4\], the task's model \[5\]"):
        load_model(str(tmp_path), task=Classification(MLP(3, 2, (5,)), 2))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            Classification(MLP(3, 2, (4, 4)), 2),
            r"do not fit the task's model; missing \['5.bias', '5.weight'\], unexpected \[\]",
        ),
        (Classification(MLP(3, 2, ()), 2), r"missing \[\], unexpected \['3.bias', '3.weight'\]"),
    ],
)
def test_weights_of_other_names(tmp_path, task, message):
    saved(tmp_path, TASK)
    with pytest.raises(ModelError, match=message):
        load_model(str(tmp_path), task=task)


def test_a_weight_that_is_missing(tmp_path):
    saved(tmp_path, TASK)
    path = tmp_path / "model" / "model.safetensors"
    weights = load_file(path)
    del weights["1.bias"]
    save_file(weights, path)
    with pytest.raises(ModelError, match=r"missing \['1.bias'\], unexpected \[\]"):
        load_model(str(tmp_path))


def test_a_recipe_that_is_not_trusted(tmp_path):
    task = Classification(Module("torch.nn:Linear", {"in_features": 3, "out_features": 2}), 2)
    module = saved(tmp_path, task)
    with pytest.raises(
        ConfigError, match=r"torch.nn:Linear is not imported unasked; if you trust it.*trusted=\('torch',\)"
    ):
        load_model(str(tmp_path))
    for model in (load_model(str(tmp_path), trusted=("torch",)), load_model(str(tmp_path), task=task)):
        assert torch.equal(model.module.weight, module.weight)


def test_a_model_folder_runs_no_code_of_its_writer(tmp_path):
    saved(tmp_path, TASK)
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    command = f"touch {tmp_path}/ran"
    net = {"class_path": "raycollab.models.Module", "init_args": {"target": "os:system", "args": {"command": command}}}
    config["task"]["init_args"]["net"] = net
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="os:system is not imported unasked"):
        load_model(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_a_task_without_a_plain_form_must_be_given(tmp_path):
    task = Classification(Module(lambda: nn.Linear(3, 2)), 2)
    saved(tmp_path, task)
    with pytest.raises(ConfigError, match=r"its task has no plain form, so the file cannot name it; pass task=\.\.\."):
        load_model(str(tmp_path))
    assert load_model(str(tmp_path), task=task).task is task


def through(reader=AS_IT_IS):
    """Hands its inputs through: they are the logits."""
    return TrainedModel(nn.Identity(), Classification(Module(nn.Identity), 2), reader)


def test_predict_goes_over_all_rows_in_order():
    n = 2500  # three batches
    features = torch.stack([torch.zeros(n), (torch.arange(n) % 2) * 2.0 - 1.0], 1)
    found = through().predict({"features": features, "label": torch.zeros(n)})
    assert found["prediction"].tolist() == [i % 2 for i in range(n)]
    assert found["probability"].tolist() == pytest.approx([1 / (1 + math.exp(-1))] * n)
    with pytest.raises(DataError, match="no rows to predict"):
        through().predict({"features": features[:0]})


def test_evaluate():
    data = Arrays({"features": torch.eye(2).repeat(3, 1), "label": torch.tensor([0, 1, 0, 1, 0, 0])})
    assert through().evaluate(data).compute()["accuracy"] == pytest.approx(5 / 6)
    with pytest.raises(DataError, match=r"south \(2 examples\): row 1 has label 5"):
        through().evaluate(Arrays({"features": torch.eye(2), "label": torch.tensor([0, 5])}, "south"))


def test_evaluate_says_how_many_rows_it_leaves_out():
    tolerant = replace(through(), task=replace(through().task, bad_rows="drop"))
    data = Arrays({"features": torch.eye(2).repeat(2, 1), "label": torch.tensor([0, 1, 7, 1])}, "south")
    with pytest.warns(UserWarning, match=r"south \(4 examples\): 1 of 4 rows cannot be used and are left out"):
        assert tolerant.evaluate(data).compute()["accuracy"] == 1.0


def table(path, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_predict_file(tmp_path, monkeypatch):
    data = table(tmp_path / "in.parquet", features=[[1.0, 0.0], [0.0, 3.0], [2.0, 1.0]], other=["a", "b", "c"])
    monkeypatch.chdir(tmp_path)
    for out in (f"{tmp_path}/deep/out.parquet", "out.parquet"):
        assert predict_file(through(Parquet("x", shapes={"features": (2,)})), data, out) == 3
        written = pq.read_table(out)
        assert written["prediction"].to_pylist() == [0, 1, 0]
        assert written["probability"].to_pylist() == pytest.approx([1 / (1 + math.exp(-d)) for d in (1, 3, 1)])


def test_predict_file_at_the_root(tmp_path, monkeypatch):
    """/out.parquet is not ./out.parquet."""
    written = []
    monkeypatch.setattr(Storage, "write_bytes", lambda self, name, data: written.append(f"{self.uri}:{name}"))
    data = table(tmp_path / "in.parquet", features=[[1.0, 0.0]])
    predict_file(through(Parquet("x", shapes={"features": (2,)})), data, "/out.parquet")
    assert written == ["/:out.parquet"]


def test_predict_file_reads_bytes_as_images(tmp_path):
    pixels = np.arange(2 * 16, dtype=np.uint8)
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), 2, [None, pa.py_buffer(pixels.tobytes())])
    data = table(tmp_path / "in.parquet", image=column)
    torch.manual_seed(0)
    model = TrainedModel(IMAGES.model().eval(), IMAGES, Parquet("x", shapes={"image": (1, 4, 4)}))
    assert predict_file(model, data, str(tmp_path / "out.parquet")) == 2
    expected = model.predict({"image": torch.from_numpy(pixels).reshape(2, 1, 4, 4) / 255.0})
    assert pq.read_table(tmp_path / "out.parquet")["prediction"].to_pylist() == expected["prediction"].tolist()


def test_predict_file_names_what_is_missing(tmp_path):
    data = table(tmp_path / "in.parquet", image=[1.0])
    with pytest.raises(DataError, match="no column 'features'; there are: image"):
        predict_file(through(Parquet("x", shapes={"features": (2,)})), data, str(tmp_path / "out.parquet"))
    with pytest.raises(DataError, match="no file there"):
        predict_file(
            through(Parquet("x", shapes={"features": (2,)})),
            str(tmp_path / "nowhere.parquet"),
            str(tmp_path / "out.parquet"),
        )


def images():
    torch.manual_seed(0)
    return TrainedModel(IMAGES.model().eval(), IMAGES, Parquet("x", shapes={"image": (1, 4, 4)}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predict_takes_numpy(dtype):
    pixels = np.random.default_rng(0).random((3, 1, 4, 4)).astype(dtype)
    expected = images().predict({"image": torch.from_numpy(pixels).float()})
    found = images().predict({"image": pixels})
    assert torch.equal(found["probability"], expected["probability"])


NEEDED = r"column 'image' \(float32 \[n, 1, 4, 4\]\)"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (torch.zeros(2, 1, 4, 4), rf"got a Tensor, and needs columns by name: \{{'image': \.\.\.\}} of {NEEDED}"),
        ({"images": torch.zeros(2, 1, 4, 4)}, rf"no column 'image'; there are: images; give {NEEDED}"),
        (
            {"image": torch.zeros(2, 1, 4, 4, dtype=torch.uint8)},
            rf"the model needs {NEEDED} and cannot be given column 'image' \(uint8 \[n, 1, 4, 4\]\): .*; "
            rf"give it as in training, bytes divided by 255",
        ),
        (
            {"image": np.zeros((2, 3, 4, 4))},
            rf"the model needs {NEEDED} and cannot be given column 'image' \(float32 \[n, 3, 4, 4\]\): .*; "
            rf"give it as in training",
        ),
    ],
)
def test_predict_names_what_it_needs(columns, message):
    with pytest.raises(DataError, match=f"^predict: {message}$"):
        images().predict(columns)


@pytest.mark.parametrize("column", [np.array(["a", "b"]), ["a", "b"], np.array([{}, None], dtype=object)])
def test_predict_names_a_column_without_numbers(column):
    message = r"^predict: column 'note' \(.*\) holds no numbers, and a model takes nothing else; leave it out"
    with pytest.raises(DataError, match=message):
        through().predict({"features": torch.zeros(2, 2), "note": column})
    assert len(through().predict({"features": torch.zeros(2, 2), "note": np.zeros(2)})["prediction"]) == 2


def test_predictions_do_not_depend_on_the_format_of_a_file(tmp_path):
    task = Classification(MLP(2, 2, (4,)), 2)
    settings = {"stack": {"features": ("x", "y")}, "categories": {"pet": ("cat",)}, "label": "pet"}
    reader = Parquet("data.parquet", bad_rows="skip", **settings)
    saved(tmp_path, task, facts={"reader": to_plain(reader)})
    model = load_model(str(tmp_path))
    table = pa.table({"x": [0.5, -1.5, 2.5], "y": [1, 2, 3]})
    pq.write_table(table, tmp_path / "data.parquet")
    csv.write_csv(table, tmp_path / "data.csv")
    feather.write_feather(table, str(tmp_path / "data.feather"))
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    found = [model.source(f"{tmp_path}/data.{end}", labelled=False) for end in ("parquet", "csv", "feather", "jsonl")]
    assert [source.read()["features"].tolist() for source in found] == [[[0.5, 1], [-1.5, 2], [2.5, 3]]] * 4
    assert {source.bad_rows for source in found} == {"error"}
    assert model.source("data.csv").bad_rows == "skip"
    assert predict_file(model, f"{tmp_path}/data.csv", f"{tmp_path}/out.parquet") == 3
