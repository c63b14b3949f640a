"""Predictions for files that lack a modality; those of other tasks are in test_deploy."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.deploy import TrainedModel
from raycollab.errors import DataError
from raycollab.predicting import predict_file

IMAGE, SOUND = [[0.5, 1.0], [2.0, -1.0], [0.1, 0.2]], [[1.0], [2.0], [3.0]]
ENCODERS = {"image": rc.models.MLP(2, 4), "sound": rc.models.MLP(1, 4)}
TASK = rc.Multimodal(rc.models.Multimodal(ENCODERS, rc.fusion.Concatenation(), 3), num_classes=3)
READER = rc.data.Parquet("x.parquet", shapes={"image": (2,), "sound": (1,)})


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TrainedModel(TASK.model().eval(), TASK, READER)


def predicted(model, tmp_path, **columns):
    data, out = str(tmp_path / "data.parquet"), str(tmp_path / "out.parquet")
    pq.write_table(pa.table(columns), data)
    assert predict_file(model, data, out) == 3
    return pq.read_table(out)["probability"].to_pylist()


def expected(model, **columns):
    tensors = {name: torch.tensor(column) for name, column in columns.items()}
    return model.predict(tensors)["probability"].tolist()


@pytest.mark.parametrize("columns", [{"image": IMAGE}, {"sound": SOUND}, {"image": IMAGE, "sound": SOUND}])
def test_a_file_with_any_of_the_modalities_is_predicted(model, tmp_path, columns):
    note = ["not", "a", "modality"]
    assert predicted(model, tmp_path, note=note, **columns) == expected(model, **columns)


def test_rows_that_lack_a_modality_say_so_in_a_column(model, tmp_path):
    found = predicted(model, tmp_path, image=IMAGE, sound=SOUND, has_sound=[1, 0, 1])
    both, image = expected(model, image=IMAGE, sound=SOUND), expected(model, image=IMAGE)
    assert found == pytest.approx([both[0], image[1], both[2]])
    assert found[1] != pytest.approx(both[1])


def test_a_file_without_any_of_them_names_what_there_is(model, tmp_path):
    with pytest.raises(DataError, match=r"no column 'image'.*note"):
        predicted(model, tmp_path, note=[1, 2, 3])


def test_a_row_that_means_nothing_is_told_by_its_file(model, tmp_path):
    for name, value in (("a", 1.0), ("b", float("nan"))):
        pq.write_table(pa.table({"sound": [[0.0], [value]]}), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=r"b.parquet: row 1 of column 'sound' holds NaN or infinity \(1 such rows\)"):
        predict_file(model, f"{tmp_path}/*.parquet", str(tmp_path / "out.parquet"))
