"""Bad data and bad updates: refused before round 1, or the agent's round is lost, and nothing else."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.cli import main

from .parties import LOCAL, agent, parquet, table, write
from .support import agents

pytestmark = pytest.mark.usefixtures("empty_folder")
NAMES = ("north", "south")


def spoil(how):
    """Spoil the data of the party `south`; returns the words that the message must have."""
    write()
    if how == "missing":
        Path("south.parquet").unlink()
        return ["agent 'south'", "south.parquet", "no file there", "RAYCOLLAB_DATA"]
    if how == "empty":
        table("south.parquet", rows=0)
        return ["agent 'south'", "south.parquet", "0 rows", "at least one"]
    if how == "not Parquet":
        Path("south.parquet").write_text("a,b\n1,2\n")
        return ["agent 'south'", "south.parquet", "cannot be read as Parquet"]
    if how == "label":
        table("south.parquet", label=3)
        return ["agent 'south'", "south.parquet", "row 7 has label 3, outside 0..2", "num_classes"]
    table("south.parquet", value=np.nan)
    return ["agent 'south'", "south.parquet", "row 7", "NaN or infinity", "bad_rows='drop'"]


@pytest.mark.parametrize("how", ["missing", "empty", "not Parquet", "label", "NaN"])
def test_data_that_an_agent_cannot_learn_from(refused, how):
    words = spoil(how)
    message = refused("run", "parties.yaml", LOCAL, code=1)
    for word in ("DataError", "1 of 2 agents could not start", *words):
        assert word in message, message


def test_the_shared_set_is_checked_too(refused):
    write()
    Path("test.parquet").unlink()
    message = refused("run", "parties.yaml", LOCAL, code=1)
    assert f"the shared test set: {Path.cwd()}/test.parquet: no file there" in message


def test_every_agent_that_cannot_start_is_named(refused):
    words = spoil("missing")
    Path("north.parquet").unlink()
    message = refused("run", "parties.yaml", LOCAL, code=1)
    for word in ("2 of 2 agents could not start", "agent 'north'", "north.parquet", *words):
        assert word in message


def test_skip_goes_on_without_agents_that_cannot_start(capsys):
    spoil("missing")
    assert main(["run", "parties.yaml", LOCAL, "--failure.on_agent_failure=skip"]) == 0
    assert "1 agents agreed" in capsys.readouterr().out
    assert {row["agent"] for row in agents("runs/run-001")} == {"north"}


def test_rows_with_nan_can_be_dropped(capsys):
    spoil("NaN")
    assert main(["run", "parties.yaml", LOCAL, "--task.bad_rows=drop"]) == 0
    assert "29 examples (3 for validation), 1 rejected" in " ".join(capsys.readouterr().out.split())


def test_rows_of_unknown_labels_can_be_dropped(capsys):
    """As with NaN; and the report counts them."""
    spoil("label")
    assert main(["run", "parties.yaml", LOCAL, "--task.bad_rows=drop"]) == 0
    assert "29 examples (3 for validation), 1 rejected" in " ".join(capsys.readouterr().out.split())
    assert "\nrows that cannot be used, left out: 1 (south 1)\n" in Path("runs/run-001/report.txt").read_text()
    assert {row["agent"]: row["rejected"] for row in agents("runs/run-001")} == {"north": None, "south": 1}


def test_bad_rows_of_streams_are_counted_as_they_are_met():
    spoil("NaN")
    members = [agent(name, shard={"class_path": "Streamed", "init_args": {"source": parquet(name)}}) for name in NAMES]
    write(agents={"class_path": "Parties", "init_args": {"members": members}})
    assert main(["run", "parties.yaml", LOCAL, "--task.bad_rows=drop"]) == 0
    assert "\nrows that cannot be used, left out: 1 (south 1)\n" in Path("runs/run-001/report.txt").read_text()


def test_bad_rows_of_the_shared_set_are_counted(capsys):
    write()
    table("test.parquet", label=3)
    assert main(["run", "parties.yaml", LOCAL, "--task.bad_rows=drop"]) == 0
    told = "the shared test set: 1 of 30 rows cannot be used and are left out"
    assert told in " ".join(capsys.readouterr().out.split())
    assert told in pq.read_table("runs/run-001/rounds.parquet")["notes"].to_pylist()[0]


def test_bad_rows_of_an_agents_own_test_set_are_counted(capsys):
    table("own.parquet", label=3)
    own = parquet("own")
    members = [agent(name, **({"test": own} if name == "south" else {})) for name in NAMES]
    write(agents={"class_path": "Parties", "init_args": {"members": members}})
    assert main(["run", "parties.yaml", LOCAL, "--task.bad_rows=drop"]) == 0
    told = ", its test set: 1 of 30 rows cannot be used and are left out"
    assert " ".join(capsys.readouterr().out.split()).count(told) == 1


def test_bad_rows_of_the_validation_set_are_counted():
    write(chain=[{"class_path": "LearnedWeights", "init_args": {"validation": parquet("judged")}}])
    table("judged.parquet", label=3, seed=1)
    assert main(["run", "parties.yaml", LOCAL, "--task.bad_rows=drop"]) == 0
    notes = pq.read_table("runs/run-001/rounds.parquet")["notes"].to_pylist()
    told = "the validation set: 1 of 30 rows cannot be used and are left out"
    assert [told in (note or "") for note in notes] == [True, *[False] * (len(notes) - 1)]


@dataclass(frozen=True)
class Poisoned(rc.SGD):
    """Sends NaN in every second round."""

    def update(self, problem, params, state, round):
        update, state = super().update(problem, params, state, round)
        bad = torch.full_like(params, torch.nan) if round.index % 2 == 0 else update.vectors["delta"]
        return replace(update, vectors={**update.vectors, "delta": bad}), state


def fit_with(learner, **settings):
    task = rc.ImageClassification(rc.models.MLP(num_features=64, num_outputs=10), num_classes=10)
    shards = rc.data.Digits("train").split(rc.IID(3))
    members = [rc.Agent(f"a{i}", s, learner if i == 1 else rc.SGD(lr=0.1), task) for i, s in enumerate(shards)]
    run, local = rc.RunConfig(num_rounds=3), rc.ScalingConfig(pool="local")
    return rc.fit(members, rc.chain(rc.Mean()), test=rc.data.Digits("test"), run=run, scaling=local, **settings)


def test_nan_in_an_update_costs_the_agent_its_round():
    """The run goes on without it; the row says why; the model stays finite."""
    result = fit_with(Poisoned(lr=0.1))
    bad = [row for row in result.agents if row["failure"]]
    assert [(row["agent"], row["round"]) for row in bad] == [("a1", 2)]
    assert "UpdateError: agent 'a1' round 2: 'delta' holds 9610 NaN or infinite of 9610 elements" in bad[0]["failure"]
    assert [row["agents"] for row in result.history] == [3, 2, 3]
    assert result.metrics["accuracy"] > 0.5


def test_a_loss_that_blows_up_costs_the_agent_its_round():
    result = fit_with(rc.SGD(lr=1e30))
    bad = [row for row in result.agents if row["failure"]]
    assert {row["agent"] for row in bad} == {"a1"}
    assert all("UpdateError" in row["failure"] for row in bad)
    assert result.metrics["accuracy"] > 0.5


def test_stop_and_quorum_end_the_run_and_keep_what_was_committed():
    with pytest.raises(rc.QuorumError, match=r"round 2: agent 'a1': .* on_agent_failure='stop'"):
        fit_with(Poisoned(lr=0.1), failure=rc.FailureConfig(on_agent_failure="stop"))
    with pytest.raises(
        rc.QuorumError, match=r"round 2: 2 of 3 agents .* min_agents=3 needs 3.*; first failure: agent 'a1'"
    ):
        fit_with(Poisoned(lr=0.1), failure=rc.FailureConfig(min_agents=3))
    assert [len(Path(f"runs/run-00{i}/journal.jsonl").read_text().splitlines()) for i in (1, 2)] == [1, 1]


@pytest.mark.ray
def test_data_that_actors_cannot_open(ray_cluster, refused):
    """Two actors, of which one cannot open its data: the same message as in one process."""
    words = spoil("missing")
    message = refused("run", "parties.yaml", code=1)
    for word in ("DataError", "1 of 2 agents could not start", *words):
        assert word in message, message
