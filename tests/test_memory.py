import pytest
import torch
from torch import nn

from raycollab.errors import UpdateError
from raycollab.memory import Memory
from raycollab.params import Exchange, FlatModel


def test_two_rounds_are_remembered():
    memory = Memory(FlatModel(nn.Linear(2, 1), Exchange()))
    memory.keep(2, 0, "two")
    memory.keep(4, 2, "four")
    assert memory.states == {2: "two", 4: "four"}
    assert [memory.kept(last) for last in (1, 2, 3, 4, 9)] == [0, 2, 2, 4, 4]
    memory.keep(5, 4, "five")
    assert memory.states == {4: "four", 5: "five"}
    assert memory.state(2) is None
    memory.restore(7, {"a": torch.ones(2)})
    assert list(memory.states) == [7]


def test_what_lies_in_scratch_is_copied():
    model = FlatModel(nn.Linear(2, 1), Exchange())
    memory, outside = Memory(model), torch.ones(3)
    kept = memory.own({"in": model.flats[0], "out": outside})
    assert kept["out"] is outside
    assert kept["in"].data_ptr() != model.flats[0].data_ptr()


def test_the_form_is_remembered_with_what_there_is():
    memory = Memory(FlatModel(nn.Linear(2, 1), Exchange()))
    may = {"who": "agent 'a': SGD", "may": True}
    assert not memory.remember(1, 0, {"learner": {}}, form=1, **may)
    assert memory.states == {}
    assert memory.remember(2, 0, {"learner": {"steps": 3}}, form=1, **may)
    assert memory.state(2) == {"learner": {"steps": 3}, "form": 1}
    assert memory.remember(3, 2, {"learner": {"steps": 4}}, form=0, **may)
    assert memory.state(3) == {"learner": {"steps": 4}}
    with pytest.raises(UpdateError, match="agent 'a': SGD returns state, but says remembers=False"):
        memory.remember(4, 3, {"learner": {"steps": 5}}, form=0, who="agent 'a': SGD", may=False)
