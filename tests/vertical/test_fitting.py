"""A run from `fit` to its folder: what it finds, that it is one ordinary net, that a resume changes no bit."""

import json
import signal
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.checkpoint import RunFolder
from raycollab.data import Arrays
from raycollab.determinism import seeded
from raycollab.errors import ConfigError, DataError, Interrupted, ModelError, RunFolderError, UpdateError
from raycollab.rng import derive_seed
from raycollab.vertical.bottom import Bottom
from raycollab.vertical.live import LiveParty
from raycollab.vertical.opened import order_of
from raycollab.vertical.rows import hashed

from .support import FUSION, TASK, TEST, WIDTHS, fit, parties, people, source, weights


def same(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_three_parties_learn_what_none_could_alone(tmp_path):
    """The label is the sign of a sum of one column of each party; by one of the three AUC is 0.80 at most."""
    result = fit(tmp_path, num_rounds=12)
    assert result.metrics["auc"] > 0.95
    assert result.num_rounds == 12
    assert result.stop_reason == "num_rounds=12"
    assert "135 common rows to train on, 45 held out" in result.report()
    assert "north: 190 rows, of which 10 are not at all parties; 0 rejected; sends 4 numbers a row" in result.report()


def test_the_folder(tmp_path):
    heard = []
    result = fit(tmp_path, watch=heard.append)
    folder = tmp_path / "run"
    assert heard == result.history == pq.read_table(folder / "rounds.parquet").to_pylist()
    assert json.loads((folder / "result.json").read_text())["metrics"] == result.metrics
    assert (folder / "report.txt").read_text() == result.report() + "\n"
    assert {each.name for each in folder.glob("party-*")} == {f"party-{name}" for name in WIDTHS}
    assert result.history[0]["bytes_activations"] == 135 * (4 + 4) * 4  # rows, numbers of north and south, float32


def one_net(folder, rounds):
    """The same net as one module in one process: an ordinary loop over columns side by side."""
    ids, columns, label = people()
    kept = np.arange(20, len(ids))
    hashes = hashed(torch.tensor(ids[kept]), (folder / "salt").read_bytes(), "ids")
    order = np.argsort(hashes)
    train = kept[order[~TEST.of(hashes[order])]]
    nets = {}
    for party in parties(folder):
        with seeded(derive_seed(0, "vertical", party.name)):
            nets[party.name] = party.net.build()
    with seeded(derive_seed(0, "vertical top")):
        fusion, head = FUSION.build(dict.fromkeys(WIDTHS, 4), 0), TASK.model()
    modules = torch.nn.ModuleList([*nets.values(), fusion, head])
    optimizer = torch.optim.AdamW(modules.parameters(), lr=0.01)
    for round in range(1, rounds + 1):
        for batch in order_of(0, round, len(train)).split(32):
            rows = train[batch.numpy()]
            optimizer.zero_grad()
            fused = fusion({name: net(torch.from_numpy(columns[name][rows])) for name, net in nets.items()})
            torch.nn.functional.cross_entropy(head(fused), torch.from_numpy(label[rows])).backward()
            optimizer.step()
    tops = {f"bank.top.fusion.{key}": each for key, each in fusion.state_dict().items()}
    tops |= {f"bank.top.head.{key}": each for key, each in head.state_dict().items()}
    own = {f"{name}.net.{key}": each for name, net in nets.items() for key, each in net.state_dict().items()}
    return own | tops


def test_it_is_the_same_as_one_net_in_one_process(tmp_path):
    """AdamW steps element by element, so optimizers of the parties' own are one; the bound is that of rounding."""
    split, whole = weights(fit(tmp_path, num_rounds=2)), one_net(tmp_path, 2)
    assert set(split) == set(whole)
    for name, values in split.items():
        assert torch.allclose(values, whole[name], atol=1e-5), name


def test_the_order_of_rows_and_of_parties_changes_nothing(tmp_path):
    one = fit(tmp_path, name="one")
    ordered = [replace(party, source=source(party.name, drop, shuffled=False))
               for party, drop in zip(parties(tmp_path), (10, 20, 0), strict=True)]  # fmt: skip
    assert same(weights(one), weights(fit(tmp_path, ordered[::-1], name="other")))


def test_another_seed_is_another_run(tmp_path):
    first = fit(tmp_path, run=rc.RunConfig(dir=str(tmp_path), name="one", num_rounds=2))
    other = fit(tmp_path, run=rc.RunConfig(dir=str(tmp_path), name="two", num_rounds=2, seed=1))
    assert first.metrics["loss"] != other.metrics["loss"]
    assert first.aligned == other.aligned  # the held-out rows have a seed of their own


class Killed(BaseException):
    pass


@pytest.mark.parametrize("every", [1, 2, 3])
def test_killed_and_resumed_is_never_killed(tmp_path, every):
    """Killed in round 4 after some steps, with checkpoints each 1, 2 or 3 rounds; north's net has dropout."""
    members, checkpoint = parties(tmp_path, dropout=0.5), rc.CheckpointConfig(every=every)
    whole = fit(tmp_path, members, num_rounds=6, name="whole", checkpoint=checkpoint)

    def kill(row):
        if row["round"] == 4:
            raise Killed

    with pytest.raises(Killed) as caught:
        fit(tmp_path, members, num_rounds=6, name="cut", checkpoint=checkpoint, watch=kill)
    assert "continue with rc.vertical.fit(..., resume=" in caught.value.__notes__[0]
    rounds = []
    resumed = fit(
        tmp_path, members, num_rounds=6, name="cut", checkpoint=checkpoint, resume=str(tmp_path / "cut"),
        watch=lambda row: rounds.append(row["round"]),
    )  # fmt: skip
    assert rounds == list(range(4 - 4 % every + 1, 7))
    assert same(weights(whole), weights(resumed))
    assert resumed.metrics == whole.metrics
    drop = ("seconds",)
    for one, other in zip(whole.history, resumed.history, strict=True):
        assert {k: v for k, v in one.items() if k not in drop} == {k: v for k, v in other.items() if k not in drop}


def test_a_run_that_has_ended_goes_no_further_unless_it_is_asked_to(tmp_path):
    three = fit(tmp_path)
    again = fit(tmp_path, resume=three.path)
    assert again.metrics == three.metrics
    assert again.num_rounds == 3
    longer = fit(tmp_path, num_rounds=5, resume=three.path)
    assert same(weights(longer), weights(fit(tmp_path, num_rounds=5, name="whole")))


def test_patience_and_target_end_it(tmp_path):
    run = rc.RunConfig(dir=str(tmp_path), num_rounds=30, target="auc >= 0.85")
    assert fit(tmp_path, run=run).stop_reason == "target auc >= 0.85"
    slow = [replace(party, args={"lr": 0.0}) for party in parties(tmp_path)]
    run = rc.RunConfig(dir=str(tmp_path), num_rounds=30, patience=2)
    result = fit(tmp_path, slow, run=run)
    assert result.num_rounds == 3


def test_evaluated_only_so_often(tmp_path):
    run = rc.RunConfig(dir=str(tmp_path), num_rounds=5, eval_every=2)
    assert ["auc" in row for row in fit(tmp_path, run=run).history] == [False, True, False, True, True]


def test_a_party_with_labels_alone(tmp_path):
    bank = {"net": None}
    result = fit(tmp_path, parties(tmp_path, bank=bank))
    assert result.part("bank").net is None
    assert set(result.part("bank").top.widths) == {"north", "south"}


def test_only_two_parties(tmp_path):
    assert fit(tmp_path, parties(tmp_path)[1:]).num_rounds == 3


@pytest.mark.parametrize("fusion", [rc.fusion.Gated(8), rc.fusion.LowRank(8)])
def test_other_fusions(tmp_path, fusion):
    assert fit(tmp_path, fusion=fusion).num_rounds == 3


def test_regression(tmp_path):
    """Any task of one column: here the label is a number."""
    ids, _, label = people()
    bank = Arrays({"ID": ids, "features": people()[1]["bank"], "label": label.astype(np.float32)})
    task = rc.Regression(rc.models.MLP(8, 1, (8,)))
    result = fit(tmp_path, parties(tmp_path, bank={"source": bank}), task=task, num_rounds=20)
    assert result.metrics["r2"] > 0.3


def test_bad_rows_are_dropped_and_counted(tmp_path):
    """Three rows of north hold NaN; the others drop them as not being at all parties."""
    ids, columns, _ = people()
    features = columns["north"].copy()
    features[[50, 60, 70], 1] = np.nan
    north = {"source": Arrays({"ID": ids, "features": features}, "north")}
    with pytest.raises(DataError, match=r"party 'north': north .*: row 50 of column 'features' holds NaN or infinity"):
        fit(tmp_path, parties(tmp_path, north=north))
    result = fit(tmp_path, parties(tmp_path, north={**north, "bad_rows": "drop"}))
    card = result.aligned.cards["north"]
    assert (card.rows, card.rejected) == (197, 3)
    assert result.aligned.num_train + result.aligned.num_test == 180 - 3


def test_a_source_that_skips_rows_of_its_own(tmp_path):
    table = {"ID": [1, 2, 3], "features": [0.0, 1.0, float("nan")]}
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    reader = rc.data.Parquet(str(tmp_path / "rows.parquet"), label=None, bad_rows="skip")
    party = replace(parties(tmp_path)[0], source=reader, inputs=("features",), net=rc.models.MLP(1, 4), bad_rows="drop")
    live = LiveParty(party, plan())
    assert len(live.open().hashes) == 2


def plan():
    return rc.vertical.plan.Plan(TASK, FUSION, TEST, 32, 0, 1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda members: members[:1], ConfigError, r"parties=\['north'\]: must be at least 2"),
        (lambda members: [members[0], *members], ConfigError, "must have names of their own"),
        (lambda members: members[:2], ConfigError, r"parties with labels=\[\]: must be exactly one of north, south"),
        (lambda members: [*members, "bank"], ConfigError, "parties: 'bank' is no rc.vertical.Party"),
        (
            lambda members: [replace(members[0], inputs="income"), *members[1:]],
            DataError,
            "party 'north': north .*: the task needs column 'income'; there are: ID, features",
        ),
        (
            lambda members: [replace(members[0], net=rc.models.MLP(9, 4)), *members[1:]],
            ModelError,
            "party 'north': its net cannot take inputs='features'",
        ),
        (
            lambda members: [
                replace(members[0], source=Arrays({"ID": [1, 1], "features": np.zeros((2, 3))}, "twice")),
                *members[1:],
            ],
            DataError,
            r"party 'north': twice \(2 examples\): column 'ID': rows 0 and 1 have the same id",
        ),
        (
            lambda members: [
                replace(members[0], source=Arrays({"ID": [1], "features": np.zeros((1, 3))})),
                *members[1:],
            ],
            DataError,
            "the parties have no row in common, of north 1, south 180, bank 200",
        ),
        (
            lambda members: [
                replace(members[0], source=Arrays({"ID": [1700], "features": np.zeros((1, 3))})),
                *members[1:],
            ],
            DataError,
            "of 1 rows in common . are left to train on, and . are held out",
        ),
    ],
)
def test_what_is_refused(tmp_path, change, error, message):
    """Before anything was run: and so no folder is left in the way."""
    with pytest.raises(error, match=message):
        fit(tmp_path, change(parties(tmp_path)))
    assert not (tmp_path / "run").exists()


def test_labels_that_the_task_refuses(tmp_path):
    ids, columns, label = people()
    bank = {"source": Arrays({"ID": ids, "features": columns["bank"], "label": label * 3})}
    with pytest.raises(DataError, match=r"party 'bank': .*: row .* has label 3, outside 0..1"):
        fit(tmp_path, parties(tmp_path, bank=bank))


def test_rows_that_are_dropped_count_where_a_label_is_refused(tmp_path):
    ids, columns, label = people()
    features, wrong = columns["bank"].copy(), label.copy()
    features[[3, 7], 0], wrong[50] = np.nan, 3
    bank = {"source": Arrays({"ID": ids, "features": features, "label": wrong}, "bank"), "bad_rows": "drop"}
    with pytest.raises(DataError, match=r"party 'bank': bank .*: row 50 has label 3, outside 0..1"):
        fit(tmp_path, parties(tmp_path, bank=bank))


def test_different_salts(tmp_path):
    rc.vertical.new_salt(str(tmp_path / "other"))
    with pytest.raises(ConfigError, match=r"the parties hold different salts, by their tags: north .*, south .*, bank"):
        fit(tmp_path, parties(tmp_path, south={"salt": str(tmp_path / "other")}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: must be >= 1"),
        ({"fusion": rc.fusion.LateLogits()}, "fusion='LateLogits': makes the outputs itself"),
        ({"task": rc.CausalLM(rc.models.GPT(8), 8)}, "task='CausalLM': must have one column of inputs"),
        ({"task": replace(TASK, inputs=("a", "b"))}, "task='Classification': must have one column of inputs"),
        (
            {"scaling": rc.ScalingConfig(pool="local", agents_per_host=2)},
            "ScalingConfig.agents_per_host=2: means nothing",
        ),
        ({"failure": rc.FailureConfig(min_agents=2)}, "FailureConfig.min_agents=2: means nothing in a vertical run"),
        ({"checkpoint": rc.CheckpointConfig(ledger=True)}, "CheckpointConfig.ledger=True: means nothing"),
        ({"run": rc.RunConfig(agents_per_round=2)}, "RunConfig.agents_per_round=2: means nothing in a vertical run"),
    ],
)
def test_settings_that_are_refused(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        fit(tmp_path, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 16}, "vertical.settings.batch_size: 32 -> 16"),
        ({"members": {"north": {"args": {"lr": 0.5}}}}, "vertical.parties.0.init_args.args.lr: 0.01 -> 0.5"),
        ({"test": rc.vertical.HeldOut(0.3)}, "vertical.settings.held_out.init_args.fraction"),
    ],
)
def test_a_resume_of_another_run_is_refused(tmp_path, settings, message):
    path = fit(tmp_path).path
    members = parties(tmp_path, **settings.pop("members", {}))
    with pytest.raises(RunFolderError, match=message):
        fit(tmp_path, members, resume=path, **settings)


def test_rows_that_have_changed_since_are_refused(tmp_path):
    """Another salt file in the same place: other hashes, another order, another split."""
    path = fit(tmp_path).path
    (tmp_path / "salt").write_bytes(bytes(32))
    with pytest.raises(DataError, match="the rows in common have changed since it was stored"):
        fit(tmp_path, num_rounds=4, resume=path)


def test_a_request_to_stop_keeps_the_round(tmp_path):
    def stop(row):
        if row["round"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped after round 2, which is kept"):
        fit(tmp_path, watch=stop, checkpoint=rc.CheckpointConfig(every=10), failure=rc.FailureConfig(stop_grace_s=60.0))
    assert RunFolder.open(str(tmp_path / "run")).checkpoints() == [2]
    resumed = fit(tmp_path, resume=str(tmp_path / "run"))
    assert same(weights(resumed), weights(fit(tmp_path, name="whole")))


def test_what_diverges_ends_the_run_and_says_where(tmp_path):
    wild = parties(tmp_path, north={"optimizer": "SGD", "args": {"lr": 1e20}})
    with pytest.raises(
        UpdateError, match=r"party '\w+': what party 'north' sent holds NaN or infinity: lower the learn"
    ):
        fit(tmp_path, wild)


def test_a_gradient_of_another_batch_or_shape_is_refused(tmp_path):
    bottom = Bottom(parties(tmp_path)[0], "cpu", 0)
    for address, gradient, message in (
        ((1, 1), torch.zeros(5, 4), "a gradient of round 1, batch 1 came, and another is waited for"),
        ((1, 0), torch.zeros(5, 3), r"the gradient that came back is float32 \[5, 3\], and float32 \[5, 4\] was"),
        ((1, 0), torch.full((5, 4), torch.nan), "the gradient that came back holds NaN"),
    ):
        bottom.forward(torch.zeros(5, 3), (1, 0), 0)
        with pytest.raises(UpdateError, match=message):
            bottom.backward(address, gradient)
