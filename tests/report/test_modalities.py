"""The grid of subsets and agents, Shapley values that sum to the whole, and their pictures."""

import pytest
import torch

from raycollab.metrics import Average, Confusion, Statistics
from raycollab.metrics.subsets import subset_metric, subset_of, subsets
from raycollab.report import added_by_modality, modality_grid, modality_pictures, modality_report
from raycollab.report.modalities import shapley

TRUTH = torch.tensor([0] * 4 + [1] * 3 + [2] * 3)


def statistics(right, weights=None):
    """Of ten rows, four of the most frequent class: how many are right by subset."""
    weights = weights or {}
    parts = {"confusion": Confusion.of(TRUTH, TRUTH, 3)}
    for subset, count in right.items():
        parts[subset_metric(subset)] = Average(subset_metric(subset), count, weights.get(subset, 10))
    return Statistics.of(parts)


TWO = statistics({("audio",): 5, ("image",): 6, ("audio", "image"): 9})
ROWS = [
    {"agent": "north", "round": 1, "val_accuracy[image]": 0.1},
    {"agent": "north", "round": 2, "val_accuracy[image]": 0.6, "val_accuracy": 0.6, "val_accuracy[audio]": None},
    {"agent": "south", "round": 2, "val_accuracy[audio]": 0.5, "val_accuracy[audio+image]": 0.8,
     "test_accuracy[audio]": 0.4, "val_accuracy[image]": float("nan")},
]  # fmt: skip


def test_names_of_metrics_go_both_ways():
    assert list(subsets("ba")) == [("a",), ("b",), ("a", "b")]
    assert subset_of(subset_metric(("a", "b"))) == ("a", "b")
    assert subset_of("accuracy") is None


def test_values_of_two_by_hand():
    """Audio: half of 0.5 - 0.4 and half of 0.9 - 0.6; image: half of 0.6 - 0.4 and half of 0.9 - 0.5."""
    added = added_by_modality(TWO)
    assert added.values == pytest.approx({"audio": 0.2, "image": 0.3})
    assert added.nothing + sum(added.values.values()) == pytest.approx(added.whole) == pytest.approx(0.9)
    assert str(added).endswith("0.4000 of the most frequent class + audio 0.2000 + image 0.3000 = 0.9000")


def test_values_of_three_sum_to_the_whole_and_treat_equals_alike():
    generator = torch.Generator().manual_seed(0)
    grid = {s: torch.rand(1, generator=generator).item() for s in subsets("abc")}
    found = shapley(grid, 0.1)
    assert 0.1 + sum(found.values()) == pytest.approx(grid["a", "b", "c"])
    grid["b",], grid["b", "c"] = grid["a",], grid["a", "c"]
    same = shapley(grid, 0.1)
    assert same["a"] == pytest.approx(same["b"])
    idle = {s: grid["a",] if "a" in s else 0.1 for s in subsets("ab")}
    assert shapley(idle, 0.1)["b"] == pytest.approx(0.0)


def test_rows_without_a_modality_count_as_those_of_who_knows_nothing():
    """Audio is there in five of ten rows, all of them right: 5 + 0.4 * 5 of 10."""
    half = statistics({("audio",): 5, ("image",): 6, ("audio", "image"): 9}, {("audio",): 5})
    added = added_by_modality(half)
    assert added.values["audio"] == pytest.approx(((0.7 - 0.4) + (0.9 - 0.6)) / 2)


def test_the_grid_has_every_subset_by_every_agent():
    grid = modality_grid(TWO, ROWS)
    assert grid.subsets == [("audio",), ("image",), ("audio", "image")]
    assert grid.rows["north"] == {("image",): 0.6}
    assert grid.rows["south"] == {("audio",): 0.4, ("audio", "image"): 0.8}
    lines = grid.table().splitlines()
    assert lines[0].split() == ["accuracy", "with", "audio", "image", "audio+image"]
    assert lines[1].split() == ["shared", "test", "set", "0.5000", "0.6000", "0.9000"]
    assert lines[2].split() == ["north", "-", "0.6000", "-"]


def test_a_task_without_several_modalities_has_none():
    plain = Statistics.of({"confusion": Confusion.of(TRUTH, TRUTH, 3)})
    one = statistics({("image",): 6})
    some = statistics({("image",): 6, ("audio", "image"): 9})
    assert modality_grid(plain, ROWS) is None
    assert [added_by_modality(each) for each in (plain, one, some)] == [None] * 3
    assert [modality_report(each, ROWS) for each in (plain, one)] == ["", ""]
    assert modality_pictures(one, ROWS) == {}


def test_the_report_says_what_each_adds():
    text = modality_report(TWO, ROWS)
    assert "south" in text
    assert text.splitlines()[-1].startswith("what each modality adds to the accuracy: 0.4000 of the most frequent")


def test_many_agents_are_cut():
    rows = [{"agent": f"party-{index}", "val_accuracy[image]": 0.5} for index in range(30)]
    lines = modality_grid(TWO, rows).table().splitlines()
    assert len(lines) == 23
    assert lines[-1] == "... and 10 more agents, in agents.parquet"


def test_pictures_are_pngs():
    pictures = modality_pictures(TWO, ROWS)
    assert set(pictures) == {"modalities.png", "agents_by_modality.png"}
    assert all(content.startswith(b"\x89PNG") and len(content) > 5000 for content in pictures.values())
