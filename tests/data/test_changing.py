"""Data that changes while a run goes on."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.data import (
    IID,
    Arrays,
    Changing,
    Current,
    Digits,
    Distorted,
    Growing,
    Holdout,
    Only,
    Parquet,
    Relabelled,
)
from raycollab.errors import ConfigError, DataError
from raycollab.recipe import from_plain, to_plain

ONE, OTHER, THIRD = (
    Arrays({"x": torch.full((6,), value), "label": torch.arange(6) % 2}, f"a{value}") for value in range(3)
)
CHANGING = Changing((ONE, OTHER, THIRD), (5, 9))


def test_each_source_begins_with_its_round():
    assert [CHANGING.at(round) for round in (0, 1, 4, 5, 8, 9, 99)] == [ONE, ONE, ONE, OTHER, OTHER, THIRD, THIRD]
    assert torch.equal(CHANGING.read()["x"], ONE.read()["x"])
    assert (
        CHANGING.describe() == "a0 (6 examples), then a1 (6 examples) from round 5, then a2 (6 examples) from round 9"
    )


def test_what_is_made_of_it_changes_with_it():
    for made in (Distorted(CHANGING, (), "x"), Holdout(CHANGING, "train", 0.5), Only(CHANGING, (0,))):
        assert made.at(6).source is OTHER
        assert made.at(6).at(6) == made.at(6)
    assert ONE.at(7) is ONE
    assert Holdout(ONE, "train", 0.5).at(3).source is ONE


def test_parts_change_as_well():
    source = Changing((Digits("train"), Relabelled(Digits("train"), tuple(range(9, -1, -1)))), (3,))
    for part in source.split(IID(4)):
        before, after = part.at(1).read(), part.at(3).read()
        assert torch.equal(before["image"], after["image"])
        assert torch.equal(before["label"], 9 - after["label"])


def test_it_has_a_plain_form():
    source = Changing((Digits("train"), Only(Digits("train"), (1, 2))), (3,))
    assert from_plain(to_plain(source)) == source


def test_what_is_open_is_opened_again_only_when_it_has_changed():
    opened = []
    current = Current(CHANGING, lambda source: opened.append(source) or len(opened))
    assert [current.at(round) for round in (0, 1, 2, 5, 6, 5, 1)] == [1, 1, 1, 2, 2, 2, 3]
    assert opened == [ONE, OTHER, ONE]
    assert not current.fixed
    assert Current(ONE, len).fixed


def test_what_cannot_be_opened_is_tried_again():
    calls = []

    def opener(source):
        calls.append(source)
        if len(calls) == 2:
            raise DataError("gone")
        return len(calls)

    current = Current(CHANGING, opener)
    assert current.at(1) == 1
    with pytest.raises(DataError, match="gone"):
        current.at(5)
    assert current.at(5) == 3


def test_files_are_read_again_once_a_party_has_added_to_them(tmp_path):
    def write(name, values):
        pq.write_table(pa.table({"x": values, "label": [0] * len(values)}), tmp_path / name)

    write("one.parquet", [1.0, 2.0])
    source = Growing(Parquet(str(tmp_path), columns=("x",), label="label"))
    first = source.at(1)
    assert first == source.at(2)
    assert first.read()["x"].tolist() == [1.0, 2.0]
    write("two.parquet", [3.0])
    assert source.at(3) != first
    assert source.at(3).read()["x"].tolist() == [1.0, 2.0, 3.0]
    parts = [part.at(3).read()["x"].tolist() for part in source.split(IID(2))]
    assert sorted(parts[0] + parts[1]) == [1.0, 2.0, 3.0]
    write("two.parquet", [4.0])
    os.utime(tmp_path / "two.parquet", ns=(0, 0))  # as many bytes, another time
    assert source.at(4).open([2]).columns["x"].tolist() == [4.0]


def test_labels_under_other_names():
    source = Arrays({"x": torch.zeros(4), "label": torch.tensor([0, 1, 2, 1])})
    assert Relabelled(source, (5, 3, 4)).read()["label"].tolist() == [5, 3, 4, 3]
    assert Relabelled(source, (5, 3, 4)).keys(("label",))["label"].tolist() == [0, 1, 2, 1]
    with pytest.raises(DataError, match=r"labels 0 to 2, and Relabelled\.labels names 2; give a new label for each"):
        Relabelled(source, (1, 0)).read()
    with pytest.raises(DataError, match="no column 'y' of whole numbers; there are: label, x"):
        Relabelled(source, (1, 0), "y").read()


def test_rows_of_some_labels_alone():
    source = Arrays({"x": torch.arange(6), "label": torch.tensor([0, 1, 2, 0, 1, 2])})
    assert Only(source, (0, 2)).read()["x"].tolist() == [0, 2, 3, 5]
    assert Only(source, (0, 2)).open([1, 3]).columns["x"].tolist() == [2, 5]
    parts = [part.read()["x"].tolist() for part in Only(source, (1,)).split(IID(2))]
    assert sorted(parts) == [[1], [4]]
    assert Only(source, (0, 2)).describe() == "arrays (6 examples), label in 0, 2"
    with pytest.raises(DataError, match="label in 7: no such rows"):
        Only(source, (7,)).read()
    with pytest.raises(DataError, match="no column 'y'; there are: label, x"):
        Only(source, (7,), "y").read()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Changing((), ()), r"Changing\.sources=\(\): must be sources, one at least"),
        (lambda: Changing((ONE, "x"), (3,)), r"Changing\.sources=.*: must be sources"),
        (lambda: Changing((ONE, OTHER), ()), r"Changing\.at_rounds=\(\): must be 1 ascending rounds >= 2"),
        (lambda: Changing((ONE, OTHER), (1,)), r"Changing\.at_rounds=\(1,\): must be 1 ascending rounds >= 2"),
        (lambda: Changing((ONE, OTHER, THIRD), (4, 4)), r"Changing\.at_rounds=\(4, 4\): must be 2 ascending rounds"),
        (lambda: Growing(ONE), r"Growing\.table=.*: must be a table of files"),
        (lambda: Relabelled(ONE, ()), r"Relabelled\.labels=\(\): must be labels >= 0"),
        (lambda: Only(ONE, ()), r"Only\.values=\(\): must name a value at least"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_an_agent_has_the_data_of_the_round(tmp_path):
    """The labels that it learns and the rows that it is validated on are those of the round, also after a restart."""
    before = Arrays({"features": torch.eye(2).repeat(20, 1), "label": torch.tensor([0, 1] * 20)})
    after = Relabelled(before, (1, 0))
    source = Changing((before, after), (3,))
    task = rc.Classification(rc.models.MLP(2, 2, ()), 2)
    agent = rc.Agent("a", source, rc.SGD(lr=1.0, epochs=5), val_fraction=0.2, test=source)
    settings = {"scaling": rc.ScalingConfig(pool="local"), "test": before, "task": task}
    run = rc.RunConfig(num_rounds=4, dir=str(tmp_path))
    result = rc.fit([agent], rc.Mean(), run=run, **settings)
    assert [row["accuracy"] for row in result.history] == [1.0, 1.0, 0.0, 0.0]
    for split in ("val", "test"):
        assert [row[f"{split}_accuracy"] for row in result.agents] == [1.0] * 4
