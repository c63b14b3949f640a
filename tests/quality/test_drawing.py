"""Who holds what and what was found, as people see it."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from raycollab.labels import OBJECTS, POSITIVES, TOKENS, Labels
from raycollab.quality.drawing import picture, terminal
from raycollab.quality.examination import Examination, Moments
from raycollab.quality.holding import Holding
from raycollab.quality.table import examination_table


def shown(what, width=80):
    console = Console(width=width, file=io.StringIO())
    console.print(what)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_counts_by_label():
    lines = shown(terminal([Holding("north", 24, Labels((20, 4, 0))), Holding("south", 6, Labels((0, 5, 1)))]))
    assert lines == [
        "agent examples               0 1 2",
        "north       24 ████████████ 20 4 ·",
        "south        6 ███           · 5 1",
        "2 agents, 30 examples",
    ]


def test_what_the_counts_are_of_is_said():
    """Classes of objects count from 1; an agent with a task of its own has no more labels than that knows."""
    north, south = (Labels(counts, of=OBJECTS, first=1) for counts in ((3, 0), (0, 1)))
    assert shown(terminal([Holding("north", 2, north), Holding("south", 1, south)])) == [
        "agent examples              1 2",
        "north        2 ████████████ 3 ·",
        "south        1 ██████       · 1",
        "2 agents, 3 examples; by label: objects",
    ]
    mixed = [Holding("north", 2, Labels((1, 1))), Holding("south", 1, Labels((4, 0, 2), of=TOKENS))]
    assert shown(terminal(mixed))[2:] == [
        "south        1 ██████       4 · 2",
        "2 agents, 3 examples; by label: labels",
    ]
    several = [Holding("north", 2, Labels((2, 1), of=POSITIVES))]
    assert shown(terminal(several))[-1] == "1 agents, 2 examples; by label: positives"


def test_many_labels_are_shades_and_what_went_wrong_is_said():
    counts = (8, 4, 2, 1, 0, *[0] * 15)
    gone = Holding("gone", error="gone.parquet: no file there")
    lines = shown(terminal([Holding("[red]", 15, Labels(counts)), gone]))
    assert "labels 0 to 19, none to most" in lines[0]
    assert lines[1].endswith("█▒░░")
    assert lines[1].startswith("[red]")
    assert lines[-1] == "gone: gone.parquet: no file there"


def test_many_agents_are_cut():
    lines = shown(terminal([Holding(f"p{i}", 2, Labels((1, 1))) for i in range(100)]))
    assert lines[-2:] == ["... and 40 more", "100 agents, 200 examples"]


@pytest.mark.parametrize(
    "holdings",
    [
        [Holding("a", 3, Labels((1, 2))), Holding("b", 9, Labels((8, 1)))],
        [Holding("a", 30, Labels(tuple(range(30)))), Holding("b", error="gone")],
        [Holding("a", 3), Holding("b", 9)],
        [Holding("a", 3, Labels((9, 2), of=TOKENS)), Holding("b", 2, Labels((1, 4, 2), of=OBJECTS, first=1))],
        [Holding("a", 9, Labels(tuple(range(30)))), Holding("b", 9, Labels((5, 4)))],
    ],
    ids=["bars", "shades", "no labels", "tasks of their own", "shades of tasks of their own"],
)
def test_the_picture_is_a_png_with_something_on_it(holdings):
    image = np.asarray(Image.open(io.BytesIO(picture(holdings))).convert("RGB"))
    assert image.shape[1] > 800
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10


def test_the_longer_bar_is_longer():
    """In the colour of label 0 there are twice as many pixels for twice as many examples."""
    holdings = [Holding("a", 50, Labels((50, 0))), Holding("b", 100, Labels((100, 0)))]
    image = np.asarray(Image.open(io.BytesIO(picture(holdings))))
    rows = [int((row[:, :3] == [31, 119, 180]).all(1).sum()) for row in image]
    lengths = [length for length in rows if length > 100]  # the key is shorter
    assert max(lengths) / min(lengths) == pytest.approx(2, rel=0.02)


def test_examinations_side_by_side():
    moments = {"x": Moments((0.0,), (1.0,))}
    found = [
        Examination("a", 100, 2, Labels((60, 40, 0)), {"x": 7}, 3, 1, 5, 4, "", 0.9, moments),
        Examination(
            "b",
            50,
            labels=Labels((50, 0, 0), 1, strange="outside 0..2"),
            unjudged="examples alike do not share them",
            agreement=0.4,
            moments={"x": Moments((9.0,), (1.0,))},
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


def test_why_labels_are_not_judged_is_said_once_for_each_reason():
    """Not of agents whose task has no labels."""
    names = [f"p{i}" for i in range(10)]
    found = [Examination(name, 9, labels=Labels((4, 5)), unjudged="all are the same") for name in names]
    found += [Examination("q", 9, labels=Labels((40, 2), 3, TOKENS, strange="outside 0..1"), unjudged="of tokens")]
    found += [Examination("r", 9, unjudged="the task has none")]
    assert shown(examination_table(found), 130)[-3:] == [
        "q: 3 labels are outside 0..1",
        "labels are not judged, because all are the same: p0, p1, p2, p3, p4, p5, p6, p7 and 2 more",
        "labels are not judged, because of tokens: q",
    ]
