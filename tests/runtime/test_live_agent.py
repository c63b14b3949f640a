from dataclasses import dataclass, replace

import pytest
import torch

from raycollab.agent import Agent
from raycollab.aggregation import Mean
from raycollab.chains import chain
from raycollab.data import Arrays, Parquet
from raycollab.errors import DataError, RoundStopped, TaskMismatchError, UpdateError
from raycollab.learners import SGD, Learner, Optimizer, Scaffold
from raycollab.models import CNN, MLP
from raycollab.offer import Offer
from raycollab.params import Exchange, FlatModel
from raycollab.runtime.live_agent import LiveAgent
from raycollab.spec import BUFFERS, DELTA, PARAMS
from raycollab.tasks import Classification, ImageClassification
from raycollab.transforms import ClipNorm, Momentum
from raycollab.types import Assignment, Round, Update

from ..contracts.support import digits, train

TASK = Classification(MLP(3, 2, (4,)), 2)
IMAGES = ImageClassification(CNN(2, size=4, channels=(2,), hidden=3, batch_norm=True), 2)


@dataclass(frozen=True)
class Sends(Learner):
    """Sends what it is told to."""

    value: float = 1.0
    weight: float = 1.0
    size: int = 0
    name: str = DELTA

    def update(self, problem, params, state, round):
        vector = torch.full((self.size or params.numel(),), self.value)
        return Update(problem.agent, self.weight, {DELTA: torch.zeros_like(params), self.name: vector}), {}


def rows(n=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 3, generator=generator)
    return {"features": features, "label": (features[:, 0] > 0).long()}


def images(n=12):
    generator = torch.Generator().manual_seed(0)
    return {"image": torch.randn(n, 1, 4, 4, generator=generator), "label": torch.arange(n) % 2}


class Bench:
    """A live agent that has agreed and opened, and the rounds that it is sent."""

    def __init__(self, learner=SGD(), task=TASK, data=None, steps=(Mean(),), exchange=Exchange(), agent=None):  # noqa: B008
        torch.manual_seed(0)
        self.model = FlatModel(task.model(), exchange)
        self.agent = agent or Agent("north", Arrays(rows() if data is None else data), learner)
        self.live = LiveAgent(self.agent, task, self.model, chain(*steps), seed=0)
        self.offer = Offer(task.fingerprint(self.model.spec), self.model.spec)
        self.params, self.buffers = self.model.read(), self.model.read_buffers()

    def ready(self):
        self.live.agree(self.offer)
        self.card = self.live.open()
        return self

    def round(self, index=1, **changes):
        vectors = {PARAMS: self.params, BUFFERS: self.buffers}
        return replace(Round(index, 0, index - 1, vectors, fingerprint=self.offer.fingerprint.digest()), **changes)

    def update(self, index=1, last_round=0, discount=1.0, stop=lambda: False):
        return self.live.update(self.round(index), Assignment("north", index - 1, last_round, discount), stop)


def same(one, other):
    return all(torch.equal(one.vectors[name], other.vectors[name]) for name in one.vectors | other.vectors)


def test_the_card_counts():
    card = Bench().ready().card
    assert (card.agent, card.examples, card.learner) == ("north", 18, "SGD")
    assert card.summary == "20 examples (2 for validation), 0 rejected, 2 of 2 labels"


def test_rejected_rows_are_left_out_and_counted():
    data = rows()
    data["features"][[3, 7]] = torch.nan
    bench = Bench(task=replace(TASK, bad_rows="drop"), data=data).ready()
    assert bench.card.summary == "18 examples (2 for validation), 2 rejected, 2 of 2 labels"
    update, report = bench.update()
    assert torch.isfinite(update.vectors[DELTA]).all()
    assert report.examples == update.weight == 16
    data["features"][:] = torch.nan
    with pytest.raises(DataError, match=r"agent 'north': arrays \(20 examples\): 0 examples are left \(20 rejected\)"):
        Bench(task=replace(TASK, bad_rows="drop"), data=data).ready()


def test_its_own_validation_rows_are_never_trained_on():
    bench = Bench(agent=Agent("north", Arrays(rows()), SGD(), val_fraction=0.25)).ready()
    train, val = (bench.live._shard.columns(split)["features"] for split in ("train", "val"))
    assert (len(train), len(val)) == (15, 5)
    assert sorted(torch.cat([train, val])[:, 0].tolist()) == sorted(rows()["features"][:, 0].tolist())
    again = Bench(agent=Agent("north", Arrays(rows()), SGD(), val_fraction=0.25)).ready()
    assert torch.equal(again.live._shard.columns("val")["features"], val)
    statistics = bench.live.validate({PARAMS: bench.params, BUFFERS: bench.buffers}, 0, 0).validation
    assert statistics.get("confusion").matrix.sum() == 5


def test_without_validation_there_is_nothing_to_score():
    bench = Bench(agent=Agent("north", Arrays(rows()), SGD(), val_fraction=0.0)).ready()
    assert bench.card.examples == 20
    scores = bench.live.validate({PARAMS: bench.params, BUFFERS: bench.buffers}, 0, 0)
    assert scores.validation.compute() == scores.test.compute() == {}


@pytest.mark.parametrize("path", ["nowhere/x.parquet", "agents/x.parquet", "agent.parquet"])
def test_data_that_cannot_be_read_names_the_agent(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"^agent 'north': {path}: no file there"):
        Bench(agent=Agent("north", Parquet(path), SGD())).ready()


def test_data_that_does_not_fit_names_the_agent_once():
    data = rows()
    data["label"][4] = 7
    with pytest.raises(DataError, match=r"^agent 'north': arrays \(20 examples\): row 4 has label 7, outside 0..1"):
        Bench(data=data).ready()


def test_approves_its_own_task_and_no_other():
    bench = Bench()
    digest = bench.offer.fingerprint.digest()
    Bench(agent=replace(bench.agent, approves=digest)).ready()
    with pytest.raises(
        TaskMismatchError, match=f"agent 'north' approves only task 1234 and was offered {digest}: Finger"
    ):
        Bench(agent=replace(bench.agent, approves="1234")).ready()


def test_another_task_than_the_experiments_is_refused():
    other = Bench(task=replace(TASK, label_smoothing=0.1))
    with pytest.raises(TaskMismatchError, match=r"loss 'cross_entropy\(label_smoothing=0.1\)' for 'cross_entropy'"):
        Bench().live.agree(other.offer)


def test_a_party_may_bring_its_own_loss():
    own = replace(TASK, label_smoothing=0.1)
    bench = Bench(task=own, agent=Agent("north", Arrays(rows()), SGD(), task=own))
    bench.live.agree(Bench().offer)


def test_a_round_of_another_task_is_refused():
    bench = Bench().ready()
    with pytest.raises(TaskMismatchError, match=r"agent 'north' agreed to task \w+ and refuses round 3 with other"):
        bench.live.update(bench.round(3, fingerprint="other"), Assignment("north", 2), lambda: False)


def test_the_update_and_its_report():
    bench = Bench(SGD(epochs=2)).ready()
    update, report = bench.update(discount=0.5)
    assert update.agent == report.agent == "north"
    assert (update.weight, update.discount, report.weight) == (18.0, 0.5, 9.0)
    assert update.coverage is None
    assert report.examples == 36
    assert report.loss == update.scalars["loss"]
    assert report.norm == pytest.approx(update.vectors[DELTA].norm().item(), rel=1e-6)
    assert report.num_bytes == 4 * update.vectors[DELTA].numel()
    assert not report.fresh
    assert not report.remembers


def test_transforms_left_of_the_aggregator_run_here():
    plain, clipped = Bench(SGD(lr=1.0)).ready(), Bench(SGD(lr=1.0), steps=(ClipNorm(0.01), Mean())).ready()
    assert plain.update()[1].norm > 0.01
    assert clipped.update()[1].norm == pytest.approx(0.01, rel=1e-4)


REMEMBERING = {
    "velocity": {"learner": SGD(momentum=0.9, keep_momentum=True)},
    "adam": {"learner": Optimizer("AdamW", {"lr": 0.01}, keep_state=True)},
    "transform": {"steps": (Momentum(0.9), Mean())},
    "head": {"exchange": Exchange(exclude=("3.*",))},
    "norm": {"task": IMAGES, "data": images(), "exchange": Exchange(buffers="private")},
}


@pytest.mark.parametrize("settings", REMEMBERING.values(), ids=REMEMBERING)
def test_redoing_a_round_gives_the_same_bits(settings):
    """Idempotent: attempts at a round all start from the state of the last committed one."""
    bench = Bench(**settings).ready()
    first, report = bench.update(1)
    assert report.remembers
    second, _ = bench.update(2, last_round=1)
    again, again_report = bench.update(2, last_round=1)
    assert same(second, again)
    assert not again_report.fresh
    assert same(bench.update(1)[0], first)


@pytest.mark.parametrize("settings", REMEMBERING.values(), ids=REMEMBERING)
def test_a_restored_agent_goes_on_as_if_it_had_never_stopped(settings):
    bench = Bench(**settings).ready()
    bench.update(1)
    memory = bench.live.memory.state(1)
    expected, _ = bench.update(2, last_round=1)
    other = Bench(**settings).ready()
    other.live.memory.restore(1, memory)
    got, report = other.update(2, last_round=1)
    assert same(got, expected)
    assert not report.fresh


@pytest.mark.parametrize("settings", [REMEMBERING["velocity"], REMEMBERING["head"]])
def test_an_agent_that_lost_its_state_starts_afresh_and_says_so(settings):
    bench = Bench(**settings).ready()
    bench.update(1)
    known, _ = bench.update(2, last_round=1)
    lost, report = Bench(**settings).ready().update(2, last_round=1)
    assert report.fresh
    assert not same(known, lost)


def test_an_agent_that_lost_its_newest_state_goes_on_from_an_older_one_and_says_so():
    """Its node was replaced by one that got what was stored of round 1; round 2 was never stored."""
    settings = REMEMBERING["velocity"]
    bench = Bench(**settings).ready()
    bench.update(1)
    stored = bench.live.memory.state(1)
    older, _ = bench.update(3, last_round=1)
    back = Bench(**settings).ready()
    back.live.memory.restore(1, stored)
    update, report = back.update(3, last_round=2)
    assert report.fresh
    assert same(update, older)
    again, _ = back.update(3, last_round=2)
    assert same(again, update)


def test_remembers_the_last_two_rounds_that_count():
    bench = Bench(SGD(momentum=0.9, keep_momentum=True)).ready()
    for index, last in ((1, 0), (2, 1), (3, 2), (4, 2)):  # round 3 was not committed
        bench.update(index, last_round=last)
    assert [index for index in range(6) if bench.live.memory.state(index) is not None] == [2, 4]


def test_what_it_remembers_is_not_scratch():
    """Another agent on the same model changes nothing of what this one sent or keeps."""
    bench = Bench(exchange=Exchange(exclude=("3.*",))).ready()
    update, _ = bench.update(1)
    delta = update.vectors[DELTA].clone()
    private = {name: value.clone() for name, value in bench.live.memory.state(1)["private"].items()}
    other = LiveAgent(Agent("south", Arrays(rows(seed=1)), SGD(lr=1.0)), TASK, bench.model, chain(Mean()), seed=0)
    other.agree(bench.offer)
    other.open()
    other.update(bench.round(1), Assignment("south", 0), lambda: False)
    assert torch.equal(update.vectors[DELTA], delta)
    assert all(torch.equal(bench.live.memory.state(1)["private"][name], value) for name, value in private.items())
    fresh = LiveAgent(Agent("south", Arrays(rows(seed=1)), SGD(lr=1.0)), TASK, bench.model, chain(Mean()), seed=0)
    fresh.agree(bench.offer)
    fresh.open()
    bench.update(2, last_round=1)
    first = fresh.update(bench.round(1), Assignment("south", 0), lambda: False)[0]
    assert same(first, other.update(bench.round(1), Assignment("south", 0), lambda: False)[0])


def test_what_was_broadcast_stays_as_it_is():
    bench = Bench(task=IMAGES, data=images()).ready()
    params, buffers = bench.params.clone(), bench.buffers.clone()
    update, _ = bench.update()
    assert torch.equal(bench.params, params)
    assert torch.equal(bench.buffers, buffers)
    assert update.vectors[BUFFERS].abs().sum() > 0


def test_what_is_private_never_leaves():
    """Changing the private head of the sender changes nothing in the shape or the names of what it sends."""
    bench = Bench(exchange=Exchange(exclude=("3.*",))).ready()
    update, _ = bench.update()
    assert update.vectors[DELTA].numel() == 4 * 3 + 4
    assert set(bench.live.memory.state(1)["private"]) == {"3.weight", "3.bias"}


def test_an_agent_that_holds_a_part_of_the_model_gets_and_sends_that_part():
    whole = Bench()
    part = Bench(exchange=Exchange(include=("3.*",)))
    part.live.agree(whole.offer)
    part.live.open()
    update, _ = part.live.update(whole.round(1), Assignment("north", 0), lambda: False)
    assert update.vectors[DELTA].numel() == 2 * 4 + 2
    assert update.coverage.params.take(whole.params).tolist() == whole.params[16:].tolist()


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (Sends(value=float("nan")), r"'delta' holds 26 NaN or infinite of 26 elements; it is kept out of the sum"),
        (Sends(value=float("inf")), "'delta' holds 26 NaN or infinite"),
        (Sends(size=5), r"'delta' has shape \[5\], expected \[26\]"),
        (Sends(size=5, name="control"), r"'control' has shape \[5\], expected \[26\]"),
        (Sends(value=float("nan"), name="control"), "'control' holds 26 NaN"),
        (Sends(weight=-1.0), r"weight -1.0 is not a finite number >= 0"),
        (Sends(weight=float("nan")), "weight nan is not a finite number >= 0"),
        (Sends(value=1e38), "'delta' has norm 5.1e.38"),
    ],
)
def test_an_update_that_would_spoil_the_sum_is_refused(learner, message):
    with pytest.raises(UpdateError, match=f"agent 'north' round 1: {message}"):
        Bench(learner).ready().update()


def test_stops_when_it_is_told_to():
    with pytest.raises(RoundStopped):
        Bench().ready().update(stop=lambda: True)


def test_what_it_begins_with_is_made_once(monkeypatch):
    """A state is as large as the model: it is made in the first round, and not again in rounds and scores after it."""
    made, init = [], Scaffold.init
    monkeypatch.setattr(Scaffold, "init", lambda self, params: made.append(1) or init(self, params))
    train(digits(Scaffold(SGD(lr=0.1)), Mean("uniform"), rounds=3, num_agents=2))
    assert len(made) == 2
