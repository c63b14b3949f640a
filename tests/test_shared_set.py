import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raycollab.data import Arrays, Holdout, Parquet
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import CNN, MLP
from raycollab.shared_set import SharedSet
from raycollab.tasks import Classification, ImageClassification

TASK = Classification(MLP(3, 2, ()), 2)
COLUMNS = {"features": torch.eye(3).repeat(2, 1), "label": torch.tensor([0, 1, 0, 1, 0, 1])}


def test_scores_every_row():
    """A module that always says class 0 is right on the three rows of class 0."""
    module = TASK.model()
    with torch.no_grad():
        module[1].weight.zero_()
        module[1].bias.copy_(torch.tensor([1.0, 0.0]))
    assert SharedSet(Arrays(COLUMNS), TASK, "cpu").score(module).compute()["accuracy"] == 0.5


def test_an_unknown_target_is_refused_at_once():
    shared = SharedSet(Arrays(COLUMNS), TASK, "cpu")
    shared.check_metrics("accuracy > 0.99", TASK.model())
    with pytest.raises(ConfigError, match="target metric 'acc' is not reported by this task; it reports: accuracy"):
        shared.check_metrics("acc > 0.99", TASK.model())


def test_a_task_that_does_not_report_its_primary_metric_is_refused_at_once():
    class Forgetful(Classification):
        primary = ("roc", True)

    task = Forgetful(TASK.net, 2)
    with pytest.raises(ConfigError, match=r"Forgetful.primary='roc': Forgetful.statistics reports only: accuracy"):
        SharedSet(Arrays(COLUMNS), task, "cpu").check_metrics(None, task.model())


def test_arrays_give_files_their_shapes():
    assert SharedSet(Arrays(COLUMNS), TASK, "cpu").reader().shapes == {"features": (3,)}


def test_files_are_read_as_it_was(tmp_path):
    """Exactly as its Parquet files were, wherever those stand in the source."""
    path = str(tmp_path / "test.parquet")
    pq.write_table(pa.table({"features": COLUMNS["features"].tolist(), "label": COLUMNS["label"].tolist()}), path)
    files = Parquet(path, shapes={"features": (3,)}, scale=None)
    assert SharedSet(Holdout(files, "test", 0.5), TASK, "cpu").reader() == files


def test_a_missing_file_is_named_the_shared_test_set(tmp_path):
    with pytest.raises(DataError, match=r"^the shared test set: .*nothing\.parquet"):
        SharedSet(Parquet(str(tmp_path / "nothing.parquet")), TASK, "cpu")


@pytest.mark.parametrize(
    ("net", "image", "words"),
    [
        (
            MLP(32, 10),
            torch.zeros(4, 1, 8, 8),
            r"^ImageClassification.net=MLP\(num_features=32, num_outputs=10, hidden=\(128,\)\) cannot be given column "
            r"'image' \(float32 \[n, 1, 8, 8\]\) of the shared test set: arrays \(4 examples\): .*mat1 and mat2 shapes "
            r"cannot be multiplied \(2x64 and 32x128\); set num_features=64$",
        ),
        (
            CNN(10, size=8),
            torch.zeros(4, 3, 8, 8),
            "to have 1 channels, but got 3 channels instead; set in_channels=3$",
        ),
        (
            MLP(784, 10),
            torch.zeros(4, 784, dtype=torch.uint8),
            r"the shape of one example, such as `shapes: {image: \[1, 28, 28\]}`$",
        ),
    ],
)
def test_a_net_that_does_not_fit_is_named_with_the_column_and_the_remedy(net, image, words):
    task = ImageClassification(net, 10)
    shared = SharedSet(Arrays({"image": image, "label": torch.zeros(4, dtype=torch.int64)}), task, "cpu")
    with pytest.raises(ModelError, match=words):
        shared.check_metrics(None, task.model())
