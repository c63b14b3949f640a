import pytest
import torch

from raycollab.spec import BUFFERS, DELTA, Coverage, Segments
from raycollab.types import Round, Update


def test_a_rounds_streams_depend_on_the_round_and_not_on_the_attempt():
    rounds = [Round(index, 5, 0, {}, attempt=attempt) for index, attempt in ((1, 0), (1, 2), (2, 0))]
    first, again, next_round = (round.seed_for("batches", "a", 0) for round in rounds)
    assert first == again
    assert first != next_round


def test_with_vectors_leaves_the_update_as_it_is():
    update = Update("a", 2.0, {"delta": torch.zeros(2), "buffers": torch.ones(1)})
    changed = update.with_vectors(delta=torch.ones(2))
    assert changed.vectors["delta"].tolist() == [1, 1]
    assert changed.vectors["buffers"] is update.vectors["buffers"]
    assert update.vectors["delta"].tolist() == [0, 0]
    with pytest.raises(AttributeError):
        update.weight = 1.0


def test_segments_of_an_update_by_name():
    part = Segments(3, ((0, 1),))
    update = Update("a", 1.0, {}, coverage=Coverage(part, Segments.all(2)))
    assert update.segments(DELTA) == update.segments("control") == part
    assert update.segments(BUFFERS) is None  # all of them
    assert Update("a", 1.0, {}).segments(DELTA) is None
