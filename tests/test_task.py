import pytest
import torch
from torch import nn

from raycollab.data import Shard
from raycollab.errors import RoundStopped, TaskMismatchError
from raycollab.metrics import Average, Statistics
from raycollab.params import Exchange, FlatModel
from raycollab.task import Fingerprint, Problem, Task
from raycollab.types import Round


class Squares(Task):
    """Mean of squared outputs; checks that evaluation sees evaluation mode and no gradients."""

    def model(self):
        return nn.Linear(1, 1, bias=False)

    def loss(self, model, batch):
        return model(batch["x"]).square().mean()

    def statistics(self, model, batch):
        assert not model.training
        assert not torch.is_grad_enabled()
        return Statistics.of({"loss": Average("loss", float(model(batch["x"]).square().sum()), len(batch["x"]))})

    def predict(self, model, batch):
        return {"y": model(batch["x"])}

    def fingerprint(self, spec):
        return Fingerprint("squares", ("loss",), tuple((entry.name, entry.shape) for entry in spec.params))


def problem(stop=lambda: False, n=5):
    shard = Shard({"x": torch.arange(float(n))[:, None]}, val_fraction=0.0, seed=0)
    return Problem("a", Squares(), FlatModel(nn.Linear(1, 1, bias=False), Exchange()), shard, stop)


def rows(batches):
    return [batch["x"].flatten().tolist() for batch in batches]


ROUND = Round(3, 7, 2, {})


def test_epochs_see_every_example_once_each():
    batches = rows(problem().batches(ROUND, batch_size=2, epochs=2))
    assert [len(batch) for batch in batches] == [2, 2, 1, 2, 2, 1]
    first, second = ([row for batch in part for row in batch] for part in (batches[:3], batches[3:]))
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4]
    assert first != second  # each epoch has its own order


@pytest.mark.parametrize("steps", [1, 3, 4, 8])
def test_steps_take_as_many_passes_as_needed(steps):
    batches = rows(problem().batches(ROUND, batch_size=2, epochs=1, steps=steps))
    assert len(batches) == steps
    assert batches == rows(problem().batches(ROUND, batch_size=2, epochs=3))[:steps]


def test_batches_depend_on_the_round_and_agent_alone():
    again = rows(problem().batches(ROUND, batch_size=5, epochs=1))
    assert rows(problem().batches(ROUND, batch_size=5, epochs=1)) == again
    assert rows(problem().batches(Round(4, 7, 2, {}), batch_size=5, epochs=1)) != again
    assert rows(problem().batches(Round(3, 7, 2, {}, attempt=1), batch_size=5, epochs=1)) == again


def test_stop_is_asked_before_every_batch():
    answers = iter([False, False, True])
    seen = []
    with pytest.raises(RoundStopped, match="agent 'a' was told to stop in round 3 after 2 batches"):
        seen.extend(problem(stop=lambda: next(answers)).batches(ROUND, batch_size=1, epochs=1))
    assert len(seen) == 2


def test_backward_puts_the_gradient_of_this_batch_alone():
    one = problem()
    one.model.load(torch.tensor([3.0]))
    for _ in range(2):  # d/dw mean((w x)^2) = 2 w mean(x^2) = 2 * 3 * (1 + 4) / 2
        loss = one.backward({"x": torch.tensor([[1.0], [2.0]])})
        assert one.model.grads[0].tolist() == [15.0]
    assert loss.item() == 22.5
    assert not loss.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_merges_batches_and_leaves_the_mode_as_it_was(training):
    model = nn.Linear(1, 1, bias=False).train(training)
    model.weight.data.fill_(2.0)
    batches = [{"x": torch.tensor([[1.0], [2.0]])}, {"x": torch.tensor([[3.0]])}]
    assert Squares().evaluate(model, batches).compute() == {"loss": (4 + 16 + 36) / 3}
    assert model.training is training
    assert Squares().evaluate(model, []).compute() == {}


def test_defaults():
    columns = {"x": torch.zeros(3, 2)}
    assert Squares().count(columns) == 3
    assert Squares().check(columns, "here").tolist() == [True] * 3
    assert Squares().coverage(columns) == ""


BODY, HEAD = ("body", (2, 3)), ("head", (3,))
MINE = Fingerprint("mse", ("loss",), (BODY, HEAD))


@pytest.mark.parametrize("offer", [MINE, Fingerprint("mse", ("loss",), (HEAD, ("more", (1,)), BODY))])
def test_an_offer_of_the_same_task_or_of_a_superset_is_taken(offer):
    MINE.check_offer(offer, "a")


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (Fingerprint("mae", ("loss",), (BODY, HEAD)), "loss 'mae' for 'mse'"),
        (Fingerprint("mse", ("loss", "auc"), (BODY, HEAD)), r"metrics \('loss', 'auc'\) for \('loss',\)"),
        (Fingerprint("mse", ("loss",), (BODY,)), "no exchanged head of the approved shape"),
        (Fingerprint("mse", ("loss",), (("body", (3, 2)), HEAD)), "no exchanged body of the approved shape"),
    ],
)
def test_another_task_is_refused(offer, message):
    with pytest.raises(TaskMismatchError, match=f"agent 'north' approved task {MINE.digest()} .*{message}"):
        MINE.check_offer(offer, "north")


def test_digest():
    assert MINE.digest() == Fingerprint("mse", ("loss",), (BODY, HEAD)).digest()
    assert MINE.digest() != Fingerprint("mse", ("loss",), (HEAD, BODY)).digest()


def test_with_slices_an_agent_may_hold_the_first_rows_of_what_is_offered():
    smaller = Fingerprint(MINE.loss, MINE.metrics, tuple((name, (1, *shape[1:])) for name, shape in MINE.exchanged))
    smaller.check_offer(MINE, "north", slices=True)
    with pytest.raises(TaskMismatchError, match="of the approved shape"):
        MINE.check_offer(smaller, "north", slices=True)
    with pytest.raises(TaskMismatchError, match="of the approved shape"):
        smaller.check_offer(MINE, "north")
