"""Sequences of tasks: replay, EWC, LwF, and what is stored for them."""

import pytest
import torch
from torch.nn import functional

from raycollab.adapt import EWC, Buffer, LwF, Replay
from raycollab.adapt.rehearsal import Rehearsing
from raycollab.data import Shard
from raycollab.errors import ConfigError
from raycollab.learners import SGD, Learner
from raycollab.models import MLP
from raycollab.tasks import Classification

from .conftest import Bench, rows

SGD_ = SGD(lr=0.1, epochs=3, batch_size=8)
SECOND = (5,)  # rounds 1 to 4 are the first task


def columns(labels, value=0.0):
    return {"features": torch.full((len(labels), 2), value), "label": torch.tensor(labels)}


def test_a_balanced_buffer_has_as_many_of_each_label():
    state = Buffer(12).init()
    state = Buffer(12).add(columns([0] * 50), state, seed=0)
    assert state["rows"]["label"].bincount().tolist() == [12]
    state = Buffer(12).add(columns([1] * 50), state, seed=1)
    assert state["rows"]["label"].bincount().tolist() == [6, 6]
    state = Buffer(12).add(columns([2] * 2), state, seed=2)
    assert state["rows"]["label"].bincount().tolist() == [5, 5, 2]
    assert state["seen"] == 102


def test_a_reservoir_keeps_each_with_the_same_chance():
    """200 reservoirs of 10 of 100: the first half of what was given has 1,000 places, give or take 3 x 22."""
    kept = 0
    for seed in range(200):
        state, buffer = Buffer(10, by=None).init(), Buffer(10, by=None)
        for part in range(4):
            numbers = torch.arange(25) + 25 * part
            state = buffer.add({"number": numbers}, state, seed=4 * seed + part)
        assert len(state["rows"]["number"].unique()) == 10
        kept += int((state["rows"]["number"] < 50).sum())
    assert 930 < kept < 1070


def test_what_is_stored_stays_as_it_is():
    buffer, first = Buffer(4), columns([0, 1, 0, 1], 1.0)
    before = buffer.add(first, buffer.init(), seed=0)
    kept = before["rows"]["features"].clone()
    buffer.add(columns([0, 1] * 8, 2.0), before, seed=1)
    assert torch.equal(before["rows"]["features"], kept)


def test_batches_have_their_share_of_stored_rows():
    shard = Shard(columns([0] * 16), val_fraction=0.0, seed=0)
    mixed = Rehearsing(shard, columns([1] * 4, 9.0), share=0.25)
    batches = list(mixed.batches("train", 6, seed=3))
    assert [batch["label"].bincount(minlength=2).tolist() for batch in batches] == [[6, 2], [6, 2], [4, 1]]
    assert mixed.num_examples() == 16
    assert all(int(batch["label"].sum()) == 0 for batch in mixed.batches("train", 6, seed=None))


def two_tasks(learner, tasks=None):
    """Accuracy on label 0 after a task of labels 0 and 1 and one of label 2; by an agent alone, without BatchNorm."""
    bench = Bench(task=Classification(MLP(4, 3, (16,)), 3))
    whole = rows(90, shift=2.0)  # what all inputs have in common is what the second task moves
    known = whole["label"] < 2
    bench.with_rows({name: column[known] for name, column in whole.items()})
    _, state = bench.steps(learner, 4)
    bench.with_rows({name: column[~known] for name, column in whole.items()})
    bench.steps(learner, 4, state, first=5)
    bench.model.load(bench.vectors["params"])
    held = {name: column[whole["label"] == 0] for name, column in whole.items()}
    return bench.task.evaluate(bench.model.module, [held]).compute()["accuracy"]


def test_what_is_not_seen_any_more_is_forgotten():
    assert two_tasks(SGD_) < 0.2


@pytest.mark.parametrize(
    "learner",
    [Replay(SGD_, Buffer(20)), Replay(SGD_, Buffer(20, by=None))],
    ids=["balanced", "reservoir"],
)
def test_what_is_replayed_is_kept(learner):
    assert two_tasks(learner) > 0.9


def test_ewc_adds_the_gradient_of_its_penalty(bench):
    """One plain step of the second task, with and without: they differ by -lr * strength * F (w - a)."""
    learner = EWC(SGD(lr=0.1, steps=1, batch_size=64), strength=50.0, at_rounds=SECOND, num_examples=16)
    _, state = bench.steps(learner, 4)
    fisher = state["newest"]
    assert state["fisher"] is None
    assert float(fisher.min()) >= 0 < float(fisher.max())
    updates, state = bench.steps(learner, 1, state, first=5)
    plain, _ = Bench.steps(_at(bench, updates[0]), learner.learner, 1, {}, first=5)
    assert torch.equal(updates[0].vectors["delta"], plain[0].vectors["delta"])  # it begins at the anchor
    bench.vectors["params"] = state["anchor"] + 0.01
    pulled, _ = learner.update(bench.problem, bench.vectors["params"], state, bench.round(6))
    free, _ = learner.learner.update(bench.problem, bench.vectors["params"], {}, bench.round(6))
    torch.testing.assert_close(
        pulled.vectors["delta"] - free.vectors["delta"], -0.1 * 50 * fisher * 0.01, atol=1e-6, rtol=1e-3
    )
    assert torch.equal(state["fisher"], fisher)


def _at(bench, update):
    """The bench where it was before an update."""
    for name, moved in (("params", "delta"), ("buffers", "buffers")):
        bench.vectors[name] = bench.vectors[name] - update.vectors[moved]
    return bench


def test_ewc_adds_up_tasks_and_lets_old_ones_fade(bench):
    learner = EWC(SGD_, strength=1.0, at_rounds=(2, 3), num_examples=8, decay=0.5)
    _, state = bench.steps(learner, 1)
    first = state["newest"]
    _, state = bench.steps(learner, 1, state, first=2)
    second = state["newest"]
    assert torch.equal(state["fisher"], first)
    _, state = bench.steps(learner, 1, state, first=3)
    torch.testing.assert_close(state["fisher"], 0.5 * first + second)
    assert state["newest"] is second  # after the last task there is nothing to prepare


def test_an_agent_that_missed_the_last_round_of_a_task_still_remembers_it(bench):
    learner = EWC(SGD_, strength=1.0, at_rounds=(5,), num_examples=8)
    _, state = bench.steps(learner, 1, first=2)
    _, state = bench.steps(learner, 1, state, first=7)
    assert state["fisher"] is not None


def test_lwf_adds_the_divergence_from_the_model_that_the_task_began_with(bench):
    learner = LwF(SGD(lr=0.1, steps=1, batch_size=64), SECOND, strength=3.0, temperature=2.0)
    _, state = bench.steps(learner, 4)
    assert state["teacher"] is None
    updates, state = bench.steps(learner, 1, state, first=5)
    teacher = state["teacher"]["params"].clone()
    seen = {}

    class Watching(Learner):
        def update(self, problem, params, state, round):
            problem.model.load(params, round.vectors["buffers"])
            problem.model.module.eval()
            seen["loss"] = problem.loss(problem.shard.columns()).item()
            return updates[0], {}

    object.__setattr__(learner, "learner", Watching())
    learner.update(bench.problem, bench.vectors["params"], state, bench.round(6))
    said = []
    for params in (teacher, bench.vectors["params"]):
        bench.model.load(params, state["teacher"]["buffers"] if params is teacher else bench.vectors["buffers"])
        bench.model.module.eval()
        with torch.no_grad():
            said.append(bench.task.logits(bench.model.module, bench.problem.shard.columns()) / 2)
    divergence = functional.kl_div(said[1].log_softmax(1), said[0].softmax(1), reduction="batchmean")
    plain = bench.task.loss(bench.model.module, bench.problem.shard.columns()).item()
    assert seen["loss"] == pytest.approx(plain + 3 * 4 * float(divergence), rel=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Buffer(0), r"Buffer\.capacity=0: must be >= 1 example"),
        (lambda: Buffer(by=""), r"Buffer\.by='': must name a column, or be null"),
        (
            lambda: Buffer(by="colour").add(columns([0]), Buffer().init(), seed=0),
            r"Buffer\.by='colour': no such column",
        ),
        (lambda: Replay(SGD_, share=1.0), r"Replay\.share=1\.0: must be in \(0, 1\)"),
        (lambda: Replay("sgd"), r"Replay\.learner='sgd': must be a Learner"),
        (lambda: EWC(SGD_, strength=-1.0, at_rounds=(2,)), r"EWC\.strength=-1\.0: must be >= 0 and finite"),
        (lambda: EWC(SGD_, strength=1.0, at_rounds=()), r"EWC\.at_rounds=\(\): must be the ascending rounds >= 2"),
        (lambda: EWC(SGD_, strength=1.0, at_rounds=(3, 3)), r"EWC\.at_rounds=\(3, 3\): must be the ascending rounds"),
        (lambda: EWC(SGD_, strength=1.0, at_rounds=(2,), decay=1.5), r"EWC\.decay=1\.5: must be in \[0, 1\]"),
        (lambda: LwF(SGD_, (1,)), r"LwF\.at_rounds=\(1,\): must be the ascending rounds >= 2"),
        (lambda: LwF(SGD_, (2,), temperature=0.0), r"LwF\.temperature=0\.0: must be > 0 and finite"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
