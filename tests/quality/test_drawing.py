"""Who holds what and what was found, as people see it."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from raycollab.quality.drawing import picture, terminal
from raycollab.quality.examination import Examination, Moments
from raycollab.quality.holding import Holding
from raycollab.quality.table import examination_table


def shown(what, width=80):
    console = Console(width=width, file=io.StringIO())
    console.print(what)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_counts_by_label():
    lines = shown(terminal([Holding("north", 24, (20, 4, 0)), Holding("south", 6, (0, 5, 1))]))
    assert lines == [
        "agent examples               0 1 2",
        "north       24 ████████████ 20 4 ·",
        "south        6 ███           · 5 1",
        "2 agents, 30 examples",
    ]


def test_many_labels_are_shades_and_what_went_wrong_is_said():
    counts = (8, 4, 2, 1, 0, *[0] * 15)
    lines = shown(terminal([Holding("[red]", 15, counts), Holding("gone", error="gone.parquet: no file there")]))
    assert lines[1].endswith("█▒░░")
    assert lines[1].startswith("[red]")
    assert lines[-1] == "gone: gone.parquet: no file there"


def test_many_agents_are_cut():
    lines = shown(terminal([Holding(f"p{i}", 2, (1, 1)) for i in range(100)]))
    assert lines[-2:] == ["... and 40 more", "100 agents, 200 examples"]


@pytest.mark.parametrize(
    "holdings",
    [
        [Holding("a", 3, (1, 2)), Holding("b", 9, (8, 1))],
        [Holding("a", 30, tuple(range(30))), Holding("b", error="gone")],
        [Holding("a", 3), Holding("b", 9)],
    ],
    ids=["bars", "shades", "no labels"],
)
def test_the_picture_is_a_png_with_something_on_it(holdings):
    image = np.asarray(Image.open(io.BytesIO(picture(holdings))).convert("RGB"))
    assert image.shape[1] > 800
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10


def test_the_longer_bar_is_longer():
    """In the colour of label 0 there are twice as many pixels for twice as many examples."""
    image = np.asarray(Image.open(io.BytesIO(picture([Holding("a", 50, (50, 0)), Holding("b", 100, (100, 0))]))))
    rows = [int((row[:, :3] == [31, 119, 180]).all(1).sum()) for row in image]
    lengths = [length for length in rows if length > 100]  # the key is shorter
    assert max(lengths) / min(lengths) == pytest.approx(2, rel=0.02)


def test_examinations_side_by_side():
    moments = {"x": Moments((0.0,), (1.0,))}
    found = [
        Examination("a", 100, 2, (60, 40, 0), 0, {"x": 7}, 3, 1, 5, 4, 0.9, moments),
        Examination(
            "b", 50, labels=(50, 0, 0), unknown_labels=1, agreement=0.4, moments={"x": Moments((9.0,), (1.0,))}
        ),
        Examination("c", error="no file there"),
    ]
    lines = shown(examination_table(found), 130)
    assert lines[0].split() == [
        "agent",
        "examples",
        "unreadable",
        "missing",
        "duplicates",
        "near",
        "in",
        "test",
        "labels",
        "suspects",
    ]
    assert lines[1].split() == ["a", "100", "2", "7", "3", "1", "5", "2", "of", "3", "4"]
    assert lines[2].split() == ["b", "50", "0", "0", "0", "0", "0", "1", "of", "3", "-"]
    assert lines[3:9] == [
        "c     cannot be opened",
        "c: no file there",
        "a: 7 missing values in 'x'",
        "b: 1 labels are outside 0..2",
        "a: x is 0 ± 1, elsewhere 9 ± 1",
        "b: x is 9 ± 1, elsewhere 0 ± 1",
    ]
    assert lines[9] == "labels are not judged, because examples alike do not share them: b"
    assert lines[10].startswith("4 of 150 labels are likely wrong; `quality: drop` of a Split or party leaves them out")
