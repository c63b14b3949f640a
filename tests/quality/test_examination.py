"""What one agent finds: each thing that can be wrong, put there on purpose, is counted; and nothing else is."""

import dataclasses
import os
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.data import Arrays, Digits, Parquet
from raycollab.quality.comparison import differences
from raycollab.quality.examination import Examination, Moments, count_labels, examine, row_hashes
from raycollab.quality.holding import look

TASK = rc.ImageClassification(rc.models.MLP(64, 10), num_classes=10)
DIGITS = Digits("train").read()
SALT = b"salt"


def examined(columns, test=None, task=TASK):
    hashes = frozenset(row_hashes(test, task, SALT)) if test else frozenset()
    return examine("here", Arrays(columns), task, hashes, SALT)


def with_rows(*index):
    """The first hundred digits, and these rows again."""
    rows = [*range(100), *index]
    return {name: column[rows].clone() for name, column in DIGITS.items()}


def test_clean_digits_have_nothing_wrong():
    found = examined(DIGITS, Digits("test").read())
    assert found.examples == 1438
    assert sum(found.labels) == 1438
    assert (found.unreadable, found.duplicates, found.near_duplicates, found.in_test) == (0, 0, 0, 0)
    assert (found.missing, found.unknown_labels, found.error) == ({}, 0, "")
    assert found.agreement > 0.96
    assert found.suspects is not None
    assert found.suspects <= 0.02 * 1438


def test_duplicates_near_and_exact():
    columns = with_rows(3, 3, 7, 8)
    columns["image"][102] += 0.01 * torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = examined(columns)
    assert found.duplicates == 3
    assert found.near_duplicates == 1
    assert examined(with_rows()).near_duplicates == 0


def test_test_rows_in_training_are_counted_by_salted_hash():
    test = {name: column[90:120] for name, column in DIGITS.items()}
    assert examined(with_rows(), test).in_test == 10
    other_salt = frozenset(row_hashes(test, TASK, b"other"))
    assert examine("here", Arrays(with_rows()), TASK, other_salt, SALT).in_test == 0
    mislabelled = {**test, "label": (test["label"] + 1) % 10}  # inputs alone are compared
    assert examined(with_rows(), mislabelled).in_test == 10


def test_missing_values_and_unknown_labels():
    columns = with_rows()
    columns["image"][5, 0, 0, :3] = float("nan")
    columns["image"][6, 0, 0, 0] = float("inf")
    columns["label"][[1, 2]] = torch.tensor([10, -1])
    found = examined(columns)
    assert found.missing == {"image": 4}
    assert found.unknown_labels == 2
    assert found.suspects is None
    assert np.isfinite(found.moments["image"].mean[0])


def test_unreadable_rows_are_counted_not_raised(tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"features": [[1.0, 2.0]] * 3, "label": [0, None, 1]}), path)
    found = examine("here", Parquet(path), rc.Classification(rc.models.MLP(2, 2), num_classes=2), frozenset(), SALT)
    assert (found.examples, found.unreadable, found.duplicates) == (2, 1, 1)


def test_an_examination_is_small_and_holds_no_row():
    """Its size does not depend on the number of rows."""
    few, many = (len(pickle.dumps(examined({name: column[:n] for name, column in DIGITS.items()}))) for n in (50, 1400))
    assert many - few < 50
    kinds = {field.name: type(getattr(examined(with_rows()), field.name)) for field in dataclasses.fields(Examination)}
    assert torch.Tensor not in kinds.values()


def test_moments_by_entry_channel_and_column():
    columns = {
        "features": torch.tensor([[1.0, 10.0], [3.0, 10.0]]),
        "image": torch.tensor([[[[1.0]], [[5.0]]], [[[3.0]], [[float("nan")]]]]),
        "age": torch.tensor([2.0, 4.0]),
        "label": torch.tensor([0, 1]),
    }
    moments = examined(columns, task=rc.Classification(rc.models.MLP(2, 2), num_classes=2)).moments
    assert moments == {
        "features": Moments((2.0, 10.0), (1.0, 0.0)),
        "image": Moments((2.0, 5.0), (1.0, 0.0)),
        "age": Moments((3.0,), (1.0,)),
    }


def test_tasks_without_labels():
    task = rc.CausalLM(rc.models.GPT(vocab_size=8, context=4), vocab_size=8)
    tokens = torch.arange(10).reshape(2, 5)[[0, 1, 0]]
    found = examined({"tokens": tokens}, task=task)
    assert (found.examples, found.duplicates, found.labels, found.suspects) == (3, 1, (), None)
    assert count_labels({"tokens": tokens}, task) == ()


# ---- parties beside each other


def party(name, columns):
    return dataclasses.replace(examined(columns), agent=name)


def test_another_unit_is_named_and_skewed_labels_are_not():
    parts = [part.read() for part in Digits("train").split(rc.Dirichlet(0.3, 6))]
    fair = [party(f"p{i}", part) for i, part in enumerate(parts)]
    assert differences(fair) == {}
    wrong = [*fair[:5], party("p5", {**parts[5], "image": parts[5]["image"] * 255})]
    told = differences(wrong)
    assert list(told) == ["p5"]
    assert told["p5"][0].startswith("image is ")
    shifted = [*fair[:5], party("p5", {**parts[5], "image": parts[5]["image"] + 2})]
    assert list(differences(shifted)) == ["p5"]


def test_differences_by_hand():
    """Deviations 1 and 5: over 4 times. Means 0 and 4 at a deviation of 1: over 3. Otherwise nothing."""

    def one(name, mean, std):
        return Examination(name, moments={"x": Moments((0.0, mean), (1.0, std))})

    rest = [one("b", 0.0, 1.0), one("c", 0.0, 1.0)]
    assert differences([one("a", 0.0, 3.9), *rest]) == {}
    assert differences([one("a", 2.9, 1.0), *rest]) == {}
    assert differences([one("a", 0.0, 5.0), *rest]) == {"a": ["x[1] is 0 ± 5, elsewhere 0 ± 1"]}
    assert differences([one("a", 4.0, 1.0), *rest]) == {"a": ["x[1] is 4 ± 1, elsewhere 0 ± 1"]}
    assert list(differences([one("a", 0.0, 5.0), one("b", 0.0, 1.0)])) == ["a", "b"]
    assert differences([one("a", 0.0, 5.0), Examination("b", error="gone")]) == {}


# ---- who holds what


def test_looking_decodes_nothing(tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"image": [b"no image"] * 3, "label": [0, 2, 2]}), path)
    found = look("here", Parquet(path, images={"image": "rgb"}), TASK)
    assert (found.examples, found.labels) == (3, (1, 0, 2, *[0] * 7))
    assert "no file there" in look("here", Parquet("nowhere.parquet"), TASK).error


@pytest.mark.skipif(not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the real data sets")
def test_real_mnist_is_clean_and_its_leak_is_found():
    source = Parquet("mnist_test10k.parquet", shapes={"image": (1, 28, 28)})
    part = source.split(rc.IID(10))[0]
    hashes = frozenset(row_hashes(source.split(rc.IID(20))[0].read(), TASK, SALT))
    found = examine("here", part, TASK, hashes, SALT)
    rows = [
        set(rows.tolist()) for rows in (rc.IID(10).assign(source.keys(()))[0], rc.IID(20).assign(source.keys(()))[0])
    ]
    assert found.in_test == len(rows[0] & rows[1])
    assert (found.duplicates, found.near_duplicates, found.missing) == (0, 0, {})
    assert found.suspects is not None
    assert found.suspects < 0.05 * 1000
