"""What an agent remembers of one form, in the next and back again."""

import pytest
import torch

import raycollab as rc
from raycollab.growth import Forms, Renewal, Waiting, tasks_of
from raycollab.params import FlatModel

SMALL, LARGE = rc.models.MLP(4, 3, (5,)), rc.models.MLP(4, 3, (9,))
TASK = rc.Classification(LARGE, 3)
TASKS = tasks_of(TASK, rc.Growth((SMALL,), rc.growth.AtRounds((2,))))
EXCHANGE = rc.Exchange(exclude=("3.*",), slices=True)


@pytest.fixture
def forms():
    torch.manual_seed(0)
    models = {task.net: FlatModel(task.model(), EXCHANGE) for task in TASKS}
    return Forms(TASKS, lambda task: models[task.net], seed=7)


def test_what_has_the_size_of_the_model_begins_anew_and_the_rest_stays(forms):
    """Exchanged are 4 * 5 + 5 = 25 numbers of the small net, and 43 in all."""
    rows = {"features": torch.ones(6, 4), "label": torch.zeros(6, dtype=torch.int64)}
    old = {"learner": {"velocity": [torch.ones(43)]}, "buffer": {"rows": rows, "seen": 6}, "pair": [torch.ones(25), 3]}
    fresh = {"learner": {}, "buffer": {"rows": None, "seen": 0}, "pair": [torch.zeros(45), 0]}
    state = Renewal(forms, 0, 1).state(old, fresh)
    assert state["learner"] == {}
    assert state["buffer"]["rows"] is rows
    assert state["buffer"]["seen"] == 6
    assert torch.equal(state["pair"][0], torch.zeros(45))
    assert state["pair"][1] == 3


def test_matrices_of_the_old_shape_begin_anew(forms):
    """Optimizers that go by the shape of each parameter keep such."""
    old = {"state": [torch.ones(5, 4), torch.ones(2)]}
    assert Renewal(forms, 0, 1).state(old, {}) == {}
    same = {"state": [torch.ones(7, 7)]}
    assert Renewal(forms, 0, 1).state(same, {}) is same


def test_tensors_by_the_models_names_go_with_it(forms):
    small = forms.model(0)
    own = small.whole()
    grown = Renewal(forms, 0, 1).state({"own": own, "scale": 2.0}, {"own": None, "scale": 1.0})
    assert grown["scale"] == 2.0
    assert set(grown["own"]) == {"1.weight", "1.bias", "3.weight", "3.bias"}
    large = forms.task(1).model()
    large.load_state_dict(grown["own"])
    x = torch.randn(6, 4)
    torch.testing.assert_close(large(x), small.module(x), rtol=0, atol=1e-6)
    back = Renewal(forms, 1, 0).state(grown, {"own": None, "scale": 1.0})
    for name, tensor in own.items():
        torch.testing.assert_close(back["own"][name], tensor, rtol=0, atol=1e-6)


def test_a_private_part_is_grown_by_the_same_draws_as_the_common_one(forms):
    """The head is private, and the units that it reads are copied by the driver."""
    small = forms.model(0)
    whole = forms.step(1).grow(small.whole(), forms.model(1).whole())
    first = {"private": None, "learner": {}, "pipeline": []}
    old = {"private": small.private(), "learner": {}, "pipeline": []}
    private = Renewal(forms, 0, 1).all(old, first, forms.model(1))["private"]
    assert set(private) == {"3.weight", "3.bias"}
    assert all(torch.equal(private[name], whole[name]) for name in private)
    assert Renewal(forms, 0, 1).all({**old, "private": None}, first, forms.model(1))["private"] is None


def shard(labels):
    labels = torch.tensor(labels)
    columns = {"features": torch.arange(len(labels) * 4.0).view(-1, 4), "label": labels}
    return rc.Shard(columns, val_fraction=0.0, seed=0)


def test_rows_wait_for_an_output():
    waiting, rows = Waiting(TASK), shard([0, 2, 1, 2])
    assert waiting.labels(rows) == 3
    ready = waiting.ready(rows, 2)
    assert ready.columns()["label"].tolist() == [0, 1]
    assert ready.columns()["features"][:, 0].tolist() == [0, 8]
    assert waiting.ready(rows, 2) is ready
    assert waiting.ready(rows, None) is rows
    assert waiting.ready(rows, 3) is rows
    assert rows.num_examples() == 4
    assert waiting.ready(shard([2, 2]), 2).num_examples() == 0
    assert list(waiting.ready(shard([2, 2]), 2).batches("train", 2, seed=0)) == []


def test_a_streamed_source_is_not_looked_through():
    with pytest.raises(rc.DataError, match="a streamed source is not looked through for them: read it as a whole"):
        Waiting(TASK).ready(object(), 2)
    assert Waiting(TASK).labels(object()) == 0


def test_a_task_without_classes_has_nothing_that_waits():
    task = rc.tasks.Regression(rc.models.MLP(4, 1))
    rows = shard([5, 6])
    assert Waiting(task).ready(rows, 2) is rows
    assert Waiting(task).labels(rows) == 0
