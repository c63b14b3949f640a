"""What one agent finds: each thing that can be wrong, put there on purpose, is counted; and nothing else is."""

import dataclasses
import json
import os
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.data import Arrays, Characters, Digits, JSONLines, Parquet, ParquetText
from raycollab.labels import OBJECTS, POSITIVES, TOKENS, Labels
from raycollab.quality.comparison import differences
from raycollab.quality.examination import Examination, Moments, examine, row_hashes
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
    assert sum(found.labels.counts) == 1438
    assert (found.unreadable, found.duplicates, found.near_duplicates, found.in_test) == (0, 0, 0, 0)
    assert (found.missing, found.labels.unknown, found.unjudged, found.error) == ({}, 0, "", "")
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
    assert found.labels.unknown == 2
    assert (found.suspects, found.unjudged) == (None, "some of them are none of the task's")
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
    assert (found.examples, found.duplicates, found.labels, found.suspects) == (3, 1, Labels(), None)
    assert found.unjudged == "the task has none"


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
    assert (found.examples, found.labels.counts) == (3, (1, 0, 2, *[0] * 7))
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


# ---- labels of every form are counted as the task learns them

TAGS = torch.tensor([[-100, 0, 2, -100, -100], [-100, 1, -100, -100, -100], [-100, 0, 0, 0, 9]])
CORNERS = (torch.tensor([[0.0, 0, 4, 4], [1, 1, 5, 5]]), torch.zeros(0, 4), torch.tensor([[2.0, 2, 6, 6]]))
BOXES = rc.tasks.padded(CORNERS, (torch.tensor([1, 3]), torch.zeros(0), torch.tensor([3])), 4)
NET = rc.models.Module(torch.nn.Identity)
FORMS = {
    "tokens": (
        rc.tasks.TokenClassification(NET, 3),
        {"text": torch.arange(15).reshape(3, 5), "label": TAGS},
        Labels((4, 1, 1), 1, TOKENS, strange="outside 0..2"),
    ),
    "objects": (
        rc.tasks.ObjectDetection(NET, 3),
        {"image": torch.rand(3, 3, 8, 8), "label": BOXES},
        Labels((1, 0, 2), 0, OBJECTS, 1, "outside 1..3"),
    ),
    "several": (
        rc.tasks.MultiLabel(NET, 2),
        {"features": torch.rand(3, 4), "label": torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.5, 1.0]])},
        Labels((2, 2), 1, POSITIVES, strange="neither 0 nor 1"),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_by_form_of_the_task(form):
    """Ignored tokens, and rows of zeros where an image has fewer objects, count as nothing."""
    task, columns, labels = FORMS[form]
    found = examined(columns, task=task)
    assert found.labels == look("here", Arrays(columns), task).labels == labels
    assert (found.examples, found.suspects) == (3, None)
    assert found.unjudged == "only examples with one label each are compared"


def test_labels_of_episodes_are_of_any_class():
    """An episode of two classes is drawn from as many as there are."""
    task = rc.Classification(rc.models.MLP(2, 2), num_classes=2)
    few = rc.MetaTask(task, rc.MAML(lr=0.1, tasks=rc.FewShot(ways=2, shots=1, queries=1)))
    columns = {"features": torch.rand(6, 2), "label": torch.tensor([0, 4, 4, 4, 2, 0])}
    assert look("here", Arrays(columns), few).labels == Labels((2, 0, 1, 0, 3), strange="outside 0..4")
    assert look("here", Arrays(columns), task).labels == Labels((2, 0), 4, strange="outside 0..1")


def test_lists_of_labels_and_boxes_in_a_file(tmp_path):
    """Counted from their column alone: the images are none."""
    path = str(tmp_path / "t.parquet")
    several = {"image": [b"no image"] * 3, "label": [[1, 0, 1], [0, 0, 1], [0, 0, 0]]}
    pq.write_table(pa.table(several), path)
    task = rc.tasks.MultiLabel(NET, 3, inputs="image")
    assert look("here", Parquet(path, images={"image": "rgb"}), task).labels.counts == (1, 0, 2)
    boxes = pa.array(BOXES.flatten(1).tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"image": [b"no image"] * 3, "label": boxes}), path)
    source = Parquet(path, images={"image": "rgb"}, shapes={"label": (4, 5)})
    assert look("here", source, rc.tasks.ObjectDetection(NET, 3)).labels == FORMS["objects"][2]
    pq.write_table(pa.table({"a": [0, 1], "b": [1, 1], "x": [0.0, 1.0]}), path)
    stacked = Parquet(path, stack={"label": ("a", "b")}, label=None)
    assert look("here", stacked, rc.tasks.MultiLabel(NET, 2, inputs="x")).labels.counts == (1, 2)


@dataclasses.dataclass(frozen=True)
class Words(Characters):
    """The first letter of a word, twice."""

    def encode_words(self, texts, length):
        letters = [np.repeat([self.alphabet.index(word[0]) for word in words], 2)[:length] for words in texts]
        return [(row, np.arange(len(row)) // 2) for row in letters]


def test_labels_of_words_in_a_file(tmp_path):
    """What is cut off behind the fourth token is not counted, and neither is the row that cannot be used."""
    rows = [{"text": "a b c", "label": [0, 1, 1]}, {"text": "c", "label": [1]}, {"text": "", "label": []}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = JSONLines(f"{tmp_path}/t.jsonl", text={"text": 4}, tokenizer=Words("abc"), per_word="text")
    task = rc.tasks.TokenClassification(NET, 2)
    held = look("here", source, task)
    assert (held.examples, held.labels.counts) == (3, (1, 2))
    found = examine("here", source, task, frozenset(), SALT)
    assert (found.examples, found.unreadable, found.labels) == (2, 1, held.labels)


# ---- texts


def test_one_empty_text_among_many_is_one_unreadable_row(tmp_path):
    """Of a column of texts for language models; a part counts what is skipped with the first window."""
    texts = [f"this is line {place} of a text" for place in range(20)]
    pq.write_table(pa.table({"text": [*texts, "", *texts[::-1]]}), tmp_path / "t.parquet")
    source = ParquetText(f"{tmp_path}/t.parquet", Characters(), context=16)
    task = rc.CausalLM(rc.models.GPT(vocab_size=96, context=16), vocab_size=96)
    found = examine("here", source, task, frozenset(), SALT)
    assert (found.error, found.unreadable) == ("", 1)
    assert found.examples > 50
    parts = [examine("here", part, task, frozenset(), SALT) for part in source.split(rc.IID(4))]
    assert sorted(part.unreadable for part in parts) == [0, 0, 0, 1]
    assert look("here", source, task).examples == found.examples


def test_overlapping_windows_are_no_near_duplicates(tmp_path):
    text = "the quick brown fox jumps over the lazy dog, and every other text is not as quick. "
    (tmp_path / "a.txt").write_text(text * 2)
    source = rc.data.Text(f"{tmp_path}/a.txt", Characters(), context=64, stride=1)
    task = rc.CausalLM(rc.models.GPT(vocab_size=96, context=64), vocab_size=96)
    assert examine("here", source, task, frozenset(), SALT).near_duplicates == 0
