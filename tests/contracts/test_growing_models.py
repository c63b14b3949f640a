"""Models that grow while they are trained: the laws of runs hold across a step, and what was learned stays."""

import random
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
import raycollab.runtime.pool
from raycollab.adapt import Buffer
from raycollab.experiment_file import parse_experiment, to_yaml
from raycollab.params import FlatModel
from raycollab.runtime.layout import Layout
from raycollab.spec import leading
from raycollab.tree import flatten, map_leaves

from .support import DIGITS, ONE_STEP, TEST, Training, digits, experiment, train, with_run

SLICES = rc.Exchange(slices=True)
MLP = rc.models.MLP
SMALL, LARGE = MLP(64, 10, (16,)), MLP(64, 10, (40,))
AT = rc.growth.AtRounds((3,))
KEPT = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2)


def growing(learner=KEPT, *chain, forms=(SMALL,), when=AT, net=LARGE, rounds=5, probation=0, **settings):
    """Eight agents on the digits, five a round, whose model grows with round 3."""
    settings = {"exchange": SLICES, "run": {"agents_per_round": 5, **settings.pop("run", {})}, **settings}
    growth = rc.Growth(forms, when, probation=probation)
    chain = chain or (rc.Mean(), rc.Momentum(0.9))
    task = settings.pop("task", replace(DIGITS, net=net))
    return digits(learner, *chain, task=task, rounds=rounds, growth=growth, **settings)


NORMED = rc.models.CNN(10, size=8, channels=(8,), hidden=16, batch_norm=True)
CASES = {
    "wider": {},
    "a new head": {"forms": (MLP(64, 9, (40,)),), "when": rc.growth.NewClasses()},
    "wider and a new head, in two steps": {"forms": (MLP(64, 9, (8,)), SMALL), "when": rc.growth.AtRounds((2, 4))},
    "deeper": {"forms": (rc.models.Without(MLP(64, 10, (16, 16)), ("3",)),), "net": MLP(64, 10, (16, 16))},
    "a private head": {"exchange": rc.Exchange(exclude=("3.*",), slices=True)},
    "BatchNorm": {"forms": (replace(NORMED, channels=(4,)),), "net": NORMED, "learner": rc.SGD(lr=0.1, steps=2)},
    "transforms": {"chain": (rc.TopK(0.5), rc.Mean(), rc.FedAdam(lr=0.01))},
    "several at once": {"learner": rc.SGD(lr=0.1, steps=2), "scaling": rc.ScalingConfig(agents_at_once=3)},
    "old versions": {"mode": rc.Buffered(3), "chain": (rc.Mean(),)},
    "ordered dropout": {
        "task": rc.tasks.OrderedDropout(replace(DIGITS, net=LARGE), (0.5, 1.0)),
        "learner": rc.SGD(lr=0.1, steps=2),
    },
    "a model of one's own": {"learner": rc.Ditto(rc.SGD(lr=0.1, steps=2), mu=0.5)},
}
BLOCKS = {"several at once": 3}  # which are never cut
each_case = pytest.mark.parametrize("name", CASES)


def case(name, **more):
    settings = {**CASES[name], **more}
    return growing(settings.pop("learner", KEPT), *settings.pop("chain", ()), **settings)


@pytest.fixture(scope="module")
def undisturbed():
    """Each case once, on one host."""
    known = {}

    def of(name):
        if name not in known:
            known[name] = train(case(name))
        return known[name]

    return of


def steps_of(done):
    return [(report.index, change.outcome) for report in done.reports for change in report.changes]


@each_case
def test_every_case_grows_and_nobody_fails(name, undisturbed):
    done = undisturbed(name)
    assert not [failure for report in done.reports for failure in report.failures]
    steps = {"wider and a new head, in two steps": [1, 3], "a new head": [1]}.get(name, [2])
    assert steps_of(done) == [(index, "taken") for index in steps]
    assert done.driver.growing.form == len(steps)
    assert max(agent.form for report in done.reports for agent in report.agents) == len(steps)


@each_case
def test_a_step_changes_no_score(name, undisturbed):
    """But where a new output is: until it has learned, it may be the largest."""
    for change in (change for report in undisturbed(name).reports for change in report.changes):
        assert change.after == change.before or "new head" in name


@each_case
def test_the_number_of_hosts_changes_nothing(name, undisturbed):
    assert train(case(name), num_hosts=BLOCKS.get(name, 8)).bits() == undisturbed(name).bits()


@each_case
def test_the_order_of_running_and_of_arrival_changes_nothing(name, undisturbed, monkeypatch):
    shuffled = random.Random(0).sample
    collect, blocks_of = raycollab.runtime.pool.collect, Layout.blocks_of
    monkeypatch.setattr(
        Layout, "blocks_of", lambda self, given: shuffled(blocks := blocks_of(self, given), len(blocks))
    )
    monkeypatch.setattr(
        raycollab.runtime.pool, "collect", lambda results, *a, **b: collect(shuffled(results, len(results)), *a, **b)
    )
    assert train(case(name), num_hosts=2).bits() == undisturbed(name).bits()


@each_case
@pytest.mark.parametrize("killed_after", [2, 3])
def test_a_run_that_was_killed_around_the_step_ends_at_the_same_bits(name, killed_after, undisturbed):
    """Killed on three hosts, right after the model has grown or one round later; the rest runs on one."""
    made = case(name, checkpoint=rc.CheckpointConfig(every=1))
    killed = Training(made, num_hosts=3).steps(killed_after)
    assert Training(made, folder=killed.folder).finish().bits() == undisturbed(name).bits()


def test_a_model_that_has_not_grown_yet_is_the_small_one():
    """As if its form were all there is: the same numbers, but for the order in which a longer vector is added up."""
    small = train(digits(KEPT, rc.Mean(), task=replace(DIGITS, net=SMALL), rounds=3))
    large = train(growing(KEPT, rc.Mean(), rounds=3, when=rc.growth.AtRounds((9,)), run={"agents_per_round": None}))
    for (name, one), (_, other) in zip(
        small.driver.module().state_dict().items(), large.driver.module().state_dict().items(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6, msg=name)
    assert large.reports[-1].metrics["accuracy"] == small.reports[-1].metrics["accuracy"]


def test_what_is_not_in_use_stays_and_is_not_sent():
    start = Training(growing(rounds=3))
    before, spec = start.params.clone(), start.driver.offer.spec
    start.steps(1)
    used = sum(p.numel() for p in SMALL.build().parameters())
    assert {agent.num_bytes for agent in start.reports[0].agents} == {4 * used}
    moved = start.params - before
    weight = next(entry for entry in spec.params if entry.name == "1.weight")
    rows = moved[weight.offset : weight.stop].view(weight.shape)
    assert torch.equal(rows[16:], torch.zeros(24, 64))
    assert int((moved != 0).sum()) <= used
    start.steps(2)
    grown = sum(p.numel() for p in LARGE.build().parameters())
    assert {agent.num_bytes for agent in start.reports[2].agents} == {4 * grown}


def test_agents_of_an_older_form_add_to_the_newer_one():
    """With a mode that takes late updates, rounds after the step merge updates of both forms."""
    late = rc.Buffered(2, durations=rc.LogNormal(sigma=1.0))
    done = train(growing(rc.SGD(lr=0.1, steps=2), rc.Mean(), mode=late, rounds=8))
    forms = [sorted({agent.form for agent in report.agents}) for report in done.reports]
    assert [0, 1] in forms[2:]
    assert not [failure for report in done.reports for failure in report.failures]


def test_a_small_device_stays_at_its_own_net():
    """An agent with the first form as its own task: what it sends is added to the part that it holds."""
    shards = rc.data.Digits("train").split(rc.IID(4))
    small = replace(DIGITS, net=SMALL)
    agents = [rc.Agent(f"agent-{i}", shard, KEPT, small if i == 0 else None) for i, shard in enumerate(shards)]
    growth = rc.Growth((SMALL,), AT, probation=0)
    made = experiment(agents, task=replace(DIGITS, net=LARGE), test=TEST, rounds=4, exchange=SLICES, growth=growth)
    done = train(made)
    sizes = [sum(p.numel() for p in net.build().parameters()) for net in (SMALL, LARGE)]
    sent = {agent.agent: (agent.form, agent.num_bytes) for agent in done.reports[-1].agents}
    assert sent == {"agent-0": (0, 4 * sizes[0]), **{f"agent-{i}": (1, 4 * sizes[1]) for i in (1, 2, 3)}}
    too_large = [replace(agents[0], task=replace(DIGITS, net=LARGE, label_smoothing=0.1)), *agents[1:]]
    with pytest.raises(rc.DataError, match=r"agent-0: .*the net of the agent's own task must lie in its first form"):
        Training(replace(made, agents=rc.Parties(tuple(too_large))))


def test_what_agents_remember_goes_with_the_model_or_begins_anew():
    """A private head follows the units it reads; momentum of the old size does not; kept examples stay."""
    learner = rc.Replay(KEPT, Buffer(30))
    exchange = rc.Exchange(exclude=("3.*",), slices=True)
    start = Training(growing(learner, exchange=exchange, run={"agents_per_round": None})).steps(2)
    before = {f"agent-{i}": start.remembered(f"agent-{i}") for i in range(8)}
    scores = {name: metrics["loss"] for name, metrics in start.reports[-1].own_metrics.items()}
    newest = replace(start.driver._draft(0, 2, (), 0), index=2)
    again = start.pool.validate(newest, dict.fromkeys(before, 2))()
    assert newest.form == 1
    for name, score in scores.items():
        assert again[name].validation.compute()["loss"] == pytest.approx(score, abs=1e-5)
    assert before["agent-3"]["private"]["3.weight"].shape == (10, 16)
    start.steps(1)
    after = start.remembered("agent-3")
    assert after["form"] == 1
    assert after["private"]["3.weight"].shape == (10, 40)
    assert [len(v) for v in after["learner"]["learner"]["velocity"]] == [
        sum(p.numel() for p in LARGE.build().parameters())
    ]
    assert after["learner"]["buffer"]["rows"] is not None
    assert after["learner"]["buffer"]["seen"] > before["agent-3"]["learner"]["buffer"]["seen"]


def test_private_parts_that_grow_never_leave():
    """No head of any agent, of either size, is in what the driver holds."""
    start = Training(case("a private head"))
    secrets, outside = [], []
    for _ in range(5):
        start.steps(1)
        found = [start.remembered(name) for name in start.driver.roster.memory]
        secrets += [state["private"]["3.weight"].numpy().tobytes() for state in found]
        map_leaves(
            lambda leaf: outside.append(leaf.numpy().tobytes()) if isinstance(leaf, torch.Tensor) else None,
            [start.driver.state_dict(), dict(start.driver.vectors)],
        )
    assert {len(secret) for secret in secrets} == {4 * 10 * 16, 4 * 10 * 40}
    assert not [1 for secret in secrets for held in outside if secret in held]


def arriving(**settings):
    """Three agents with nine labels, of which two get the tenth in round 3."""
    part = rc.data.Only(rc.data.Digits("train"), tuple(range(9)))
    shards = part.split(rc.IID(3))
    nines = rc.data.Only(rc.data.Digits("train"), (9,))
    shards = [shards[0], *(rc.data.Changing((shard, nines), (3,)) for shard in shards[1:])]
    agents = [
        rc.Agent(f"agent-{i}", shard, rc.SGD(lr=0.2, epochs=2), val_fraction=0.1) for i, shard in enumerate(shards)
    ]
    growth = rc.Growth((MLP(64, 9, (40,)),), rc.growth.NewClasses(), probation=0)
    made = experiment(
        agents, task=replace(DIGITS, net=LARGE), test=TEST, rounds=7, exchange=SLICES, growth=growth, **settings
    )
    return made


def test_rows_wait_until_there_is_an_output_for_their_label():
    """In round 3 all that two agents have must wait: they send nothing that counts, and say what they need."""
    done = train(arriving())
    assert steps_of(done) == [(3, "taken")]
    waited = {agent.agent: agent for agent in done.reports[2].agents}
    assert [(waited[f"agent-{i}"].examples, waited[f"agent-{i}"].norm) for i in (1, 2)] == [(0, 0.0)] * 2
    assert [waited[f"agent-{i}"].labels for i in range(3)] == [9, 10, 10]
    assert done.reports[2].changes[0].cause == "label 9 has come, and there are 9 outputs"
    assert done.reports[3].agents[2].examples > 0
    assert not [failure for report in done.reports for failure in report.failures]
    recalls = [report.statistics.get("confusion").matrix[9, 9] for report in done.reports]
    assert recalls[2] == 0 < recalls[-1]
    assert all(0 < report.metrics["loss"] < 10 for report in done.reports)  # without a loss of what cannot be said


@pytest.mark.parametrize(
    "learner",
    [
        rc.SGD(lr=0.1, steps=1, batch_size=8),
        rc.Replay(ONE_STEP, Buffer(10)),
        rc.OnDrift(ONE_STEP, (rc.Watch("loss", rc.adapt.KolmogorovSmirnov(), (rc.adapt.Grow(),)),), window=16),
    ],
    ids=lambda learner: type(learner).__name__,
)
def test_a_round_in_which_everybody_waits_changes_nothing(learner):
    nines = rc.data.Only(rc.data.Digits("train"), (9,)).split(rc.IID(2))
    agents = [rc.Agent(f"agent-{i}", shard, learner) for i, shard in enumerate(nines)]
    growth = rc.Growth((MLP(64, 9, (40,)),), rc.growth.NewClasses())
    made = experiment(agents, task=replace(DIGITS, net=LARGE), test=TEST, rounds=3, exchange=SLICES, growth=growth)
    start = Training(made)
    before = start.driver.module().state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    start.steps(1)
    after = start.driver.module().state_dict()
    assert all(torch.equal(leading(after[name], tensor.shape), tensor) for name, tensor in before.items())
    assert start.reports[0].changes[0].outcome == "taken"
    assert start.steps(1).reports[1].agents[0].examples > 0


def collapsing(patience=1, chain=(), **settings):
    """From round 5 on, the labels of all are others: the score on the shared set falls after the step."""
    turned = (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)
    shards = rc.data.Digits("train").split(rc.IID(3))
    sources = [rc.data.Changing((shard, rc.data.Relabelled(shard, turned)), (5,)) for shard in shards]
    agents = [rc.Agent(f"agent-{i}", source, rc.SGD(lr=0.5, epochs=3)) for i, source in enumerate(sources)]
    growth = rc.Growth(
        (SMALL, MLP(64, 10, (20,))), rc.growth.AtRounds((4, 7)), probation=3, tolerance=0.05, patience=patience
    )
    return experiment(
        agents, *chain, task=replace(DIGITS, net=LARGE), test=TEST, rounds=8, exchange=SLICES, growth=growth, **settings
    )


def test_a_step_after_which_the_score_falls_is_taken_back_and_not_tried_again(tmp_path):
    start = Training(collapsing())
    start.steps(2)
    at_step = start.steps(1).driver.growing.state_dict()["trial"]["vectors"]["params"].clone()
    start.steps(1)
    start.steps(1)  # round 5, with other labels
    assert steps_of(start) == [(3, "taken"), (5, "rolled back")]
    assert torch.equal(start.params, at_step)
    change = start.reports[4].changes[0]
    assert "form 1 -> 0" in change.detail
    assert change.before < change.after - 0.05
    assert change.after == start.reports[2].metrics["accuracy"]
    assert start.driver.statistics.compute()["accuracy"] == change.after
    done = start.finish()
    assert len(steps_of(done)) == 2
    assert done.driver.growing.form == 0
    assert {agent.form for agent in done.reports[-1].agents} == {0}


def test_the_servers_momentum_goes_back_with_a_step():
    """What is not in use stays as it is in the rounds after, too: no velocity of the larger form is left."""
    start = Training(collapsing(chain=(rc.Mean(), rc.Momentum(0.9)))).steps(3)
    before = flatten(start.driver.state_dict()["chain"])[0]
    start.steps(2)
    assert steps_of(start) == [(3, "taken"), (5, "rolled back")]
    after = flatten(start.driver.state_dict()["chain"])[0]
    assert before
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    held = start.driver.offer.spec.coverage(FlatModel(SMALL.build(), SLICES).spec).params
    unused = torch.ones(len(start.params), dtype=torch.bool)
    for first, last in held.ranges:
        unused[first:last] = False
    at_rest = start.params[unused].clone()
    assert torch.equal(start.steps(1).params[unused], at_rest)


def test_one_bad_evaluation_is_not_enough_where_there_is_patience():
    """The score falls in rounds 5 and 6, the second and the third after the step."""
    done = train(collapsing(patience=2))
    assert steps_of(done) == [(3, "taken"), (6, "rolled back")]
    assert steps_of(train(collapsing(patience=3))) == [(3, "taken"), (6, "taken")]


def test_a_step_on_trial_is_taken_back_after_a_restart_too():
    undisturbed = train(collapsing())
    made = collapsing(checkpoint=rc.CheckpointConfig(every=1))
    killed = Training(made, num_hosts=3).steps(4)
    assert Training(made, folder=killed.folder).finish().bits() == undisturbed.bits()


def test_no_step_is_taken_back_after_its_probation():
    done = train(replace(collapsing(), growth=rc.Growth((SMALL,), rc.growth.AtRounds((3,)), probation=2)))
    assert steps_of(done) == [(2, "taken")]
    assert done.driver.growing.state_dict()["trial"] is None


def test_a_model_grows_when_it_gets_no_better():
    done = train(growing(rc.SGD(lr=1e-6, steps=1), rc.Mean(), when=rc.growth.Stalled(patience=2), rounds=5))
    assert steps_of(done) == [(3, "taken")]
    assert done.reports[2].changes[0].cause == "no better score in 2 evaluations"


def test_agents_whose_data_drifted_ask_for_growth():
    turned = (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)
    shards = rc.data.Digits("train").split(rc.IID(4))
    watch = rc.Watch("loss", rc.adapt.KolmogorovSmirnov(), (rc.adapt.Grow(),))
    learner = rc.OnDrift(rc.SGD(lr=0.2, epochs=2, batch_size=16), (watch,), window=64)
    sources = [rc.data.Changing((s, rc.data.Relabelled(s, turned)), (8,)) if i < 2 else s for i, s in enumerate(shards)]
    agents = [rc.Agent(f"agent-{i}", source, learner) for i, source in enumerate(sources)]

    def made(share):
        growth = rc.Growth((SMALL,), rc.growth.Asked(share), probation=0)
        task = replace(DIGITS, net=LARGE)
        return experiment(agents, task=task, test=TEST, rounds=10, exchange=SLICES, growth=growth)

    done = train(made(0.5))
    assert steps_of(done) == [(8, "taken")]
    assert done.reports[7].changes[0].cause == "2 of 4 agents asked for it"
    assert [agent.asks for agent in done.reports[7].agents] == [True, True, False, False]
    assert not any(agent.asks for agent in done.reports[8].agents)  # it is there now
    assert steps_of(train(made(0.75))) == []


LOCAL = rc.ScalingConfig(pool="local")


def test_a_run_folder_says_what_grew_and_its_model_is_of_the_last_form(tmp_path):
    made = growing(rc.SGD(lr=0.1, steps=2), rounds=4, scaling=LOCAL)
    result = rc.run_experiment(with_run(made, dir=str(tmp_path)))
    (row,) = pq.read_table(f"{result.path}/changes.parquet").to_pylist()
    assert (row["round"], row["agent"], row["action"], row["outcome"]) == (2, "", "Grow", "taken")
    assert (row["cause"], row["detail"]) == ("round 3 was set", "form 0 -> 1: 1,210 -> 3,010 parameters")
    assert row["before"] == row["after"] > 0
    assert "Grow taken: round 3 was set: form 0 -> 1" in result.history[1]["notes"]
    assert "after round 2, Grow taken: round 3 was set: form 0 -> 1: 1,210 -> 3,010 parameters" in result.report()
    assert {row.get("form") for row in result.agents if row["round"] == 3} == {1}
    assert result.model().task.net == LARGE
    assert result.model().evaluate(TEST).compute() == pytest.approx(result.metrics)


def test_a_run_that_ends_before_it_grows_leaves_the_small_model(tmp_path):
    forms = (MLP(64, 9, (16,)),)
    never = growing(rc.SGD(lr=0.1, steps=2), forms=forms, when=rc.growth.AtRounds((9,)), rounds=2, scaling=LOCAL)
    result = rc.run_experiment(with_run(never, dir=str(tmp_path)))
    model = result.model()
    assert model.task.net.net == forms[0]
    assert model.evaluate(TEST).compute() == pytest.approx(result.metrics)
    predictions = model.predict({"image": TEST.read()["image"]})["prediction"]
    assert predictions.max() <= 8


def test_an_agents_own_model_is_of_the_last_form(tmp_path):
    """One that has not taken part since has a head of the size before, which no model of the run fits."""
    settings = {"run": {"agents_per_round": 3}, "rounds": 3, "scaling": LOCAL}
    made = growing(KEPT, rc.Mean(), exchange=rc.Exchange(exclude=("3.*",), slices=True), **settings)
    result = rc.run_experiment(with_run(made, dir=str(tmp_path)))
    took = [row["agent"] for row in result.agents if row["round"] == 3]
    before = sorted({row["agent"] for row in result.agents} - set(took))
    assert rc.load(result.path, agent=took[0]).module[3].weight.shape == (10, 40)
    with pytest.raises(rc.ModelError, match="has not taken part since the model went from form 0 to form 1"):
        rc.load(result.path, agent=before[0])


def test_growth_is_read_from_a_file_and_set_on_the_command_line():
    made = growing(rc.SGD(lr=0.1), forms=(SMALL,), when=rc.growth.Stalled(3, least=0.01))
    digits = replace(
        made, test=rc.data.Digits("test"), agents=rc.Split(rc.data.Digits("train"), rc.IID(8), (ONE_STEP,))
    )
    assert parse_experiment(to_yaml(digits), "here") == digits
    none = replace(digits, growth=None)
    assert parse_experiment(to_yaml(none), "here") == none
    changed = parse_experiment(to_yaml(digits), "here", ["--growth.probation=7", "--growth.when.patience=9"])
    assert changed.growth == replace(digits.growth, probation=7, when=rc.growth.Stalled(9, least=0.01))
    other = parse_experiment(to_yaml(digits), "here", ["--growth.forms.0.hidden=[8]"])
    assert other.growth.forms == (MLP(64, 10, (8,)),)


def test_a_form_whose_outputs_are_divided_by_its_width_is_refused():
    form = rc.models.Narrowed(LARGE, 0.5, scaled=True)
    with pytest.raises(rc.ConfigError, match=r"Growth.forms=.*must not be divided by its width"):
        rc.Growth((form,), AT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exchange": rc.Exchange()}, r"experiment.exchange=.*must be Exchange\(slices=True\) with growth"),
        (
            {"chain": (rc.FedDyn(),), "learner": rc.Dyn(ONE_STEP, alpha=0.1)},
            "takes no update that counts less than in full, and agents",
        ),
        ({"checkpoint": rc.CheckpointConfig(updates=True)}, "CheckpointConfig.updates=True: must be False with growth"),
        (
            {"chain": (rc.Mean(), rc.Prune(0.5, end=4))},
            r"chain=Prune\(.*keeps elements at 0 that a step of growth fills",
        ),
        (
            {"task": replace(DIGITS, net=LARGE, label_smoothing=0.1), "forms": (MLP(64, 9, (16,)),)},
            "label_smoothing=0.1: must be 0 with a head that grows",
        ),
        ({"learner": rc.Scaffold(ONE_STEP)}, r"learner=Scaffold\(.*keeps a control variate, which would have to begin"),
        (
            {"learner": rc.LwF(ONE_STEP, (2,)), "forms": (MLP(64, 9, (16,)),)},
            r"learner=LwF\(.*compares all outputs, and of a head that grows some are missing",
        ),
        ({"mode": rc.Buffered(3), "probation": 2}, r"Growth.probation=2: must be 0 with Buffered\("),
        ({"learner": rc.IFCA(ONE_STEP, 2), "chain": (rc.PerCluster(),)}, "learns one of several models, and only one"),
    ],
)
def test_what_does_not_go_with_growth_is_refused_by_name(settings, message):
    settings = dict(settings)
    made = growing(settings.pop("learner", ONE_STEP), *settings.pop("chain", ()), **settings)
    with pytest.raises(rc.ConfigError, match=message):
        made.resolved()


@pytest.mark.parametrize(
    ("forms", "net", "message"),
    [
        (
            (LARGE,),
            SMALL,
            r"'1.weight' has shape \(40, 64\) in one form and has shape \(16, 64\) in the next: forms only",
        ),
        ((SMALL,), SMALL, "two forms in a row are of one size"),
        ((rc.models.Without(SMALL, ("9",)),), LARGE, r"Without.layers=\('9',\): no layer '9'; there are: 0, 1, 2, 3"),
    ],
)
def test_forms_that_do_not_grow_are_refused_before_the_run(forms, net, message):
    with pytest.raises(rc.ModelError, match=message):
        Training(growing(ONE_STEP, rc.Mean(), forms=forms, net=net))


def test_a_rule_over_whole_vectors_refuses_a_model_that_begins_small():
    with pytest.raises(rc.DataError, match=r"8 of 8 agents could not start:\n  agent-0: .*exchanges only a part"):
        Training(growing(ONE_STEP, rc.Median()))


def test_the_trial_is_in_the_checkpoint_and_the_bits_hold_it():
    """What `bits` compares holds the vectors of before the step."""
    start = Training(growing(ONE_STEP, rc.Mean(), probation=3)).steps(2)
    tensors, _ = flatten(start.driver.state_dict())
    assert "growing/trial/vectors/params" in tensors
