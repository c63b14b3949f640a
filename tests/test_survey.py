"""Asking agents about their data: in this process, and on Ray."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raycollab as rc
from raycollab.cli import main
from raycollab.data import Arrays, Digits, Parquet
from raycollab.errors import DataError
from raycollab.experiment_file import read_experiment
from raycollab.survey import examinations, holdings

real_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the real data"
)


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def experiment(agents, test=None):
    task = rc.ImageClassification(rc.models.MLP(64, 10), num_classes=10)
    return rc.Experiment(task, rc.Parties(tuple(agents)), (rc.Mean(),), test or Digits("test"))


def test_the_built_in_experiment():
    built_in = read_experiment()
    held = holdings(built_in)
    parts = rc.Dirichlet(0.3, 8).assign(Digits("train").read())
    assert [each.examples for each in held] == [len(part) for part in parts]
    found = examinations(built_in)
    assert [each.labels for each in found] == [each.labels for each in held]
    assert sum(each.suspects or 0 for each in found) < 0.03 * 1438  # one has nearly a single label, and is not judged
    assert all(each.in_test == each.duplicates == 0 for each in found)


def test_one_that_cannot_be_opened_is_told_and_the_others_go_on():
    agents = [rc.Agent("here", Digits("train"), rc.SGD()), rc.Agent("gone", Parquet("nowhere.parquet"), rc.SGD())]
    found = examinations(experiment(agents))
    assert found[0].examples == 1438
    assert "nowhere.parquet: no file there" in found[1].error
    assert "nowhere.parquet: no file there" in holdings(experiment(agents))[1].error
    with pytest.raises(DataError, match=r"nowhere.parquet: no file there"):
        examinations(experiment(agents[:1], Parquet("nowhere.parquet")))


def test_test_rows_in_training_are_found():
    test = Digits("test").read()
    leaky = Arrays({name: column[:40] for name, column in test.items()})
    agents = [rc.Agent("fair", Digits("train"), rc.SGD()), rc.Agent("leaky", leaky, rc.SGD())]
    assert [each.in_test for each in examinations(experiment(agents))] == [0, 40]


def test_commands(tmp_path, capsys):
    picture = tmp_path / "shown.png"
    assert main(["data", "show", "--out", str(picture), "--agents.partition.num_parts=3"]) == 0
    shown = capsys.readouterr().out
    assert "3 agents, 1,438 examples" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["data", "check", "--agents.partition.num_parts=3"]) == 0
    assert "near" in capsys.readouterr().out
    assert main(["data", "check", "nowhere.yaml"]) == 2
    assert "nowhere.yaml: there is no such experiment file" in capsys.readouterr().err


def test_settings_in_a_file_reach_the_agents():
    settings = ("quality=drop", "skew=[[],[{class_path: Blur, init_args: {sigma: 1.0}}]]")
    read = read_experiment(None, [f"--agents.{setting}" for setting in settings])
    agents = read.members()
    assert {agent.quality for agent in agents} == {"drop"}
    assert agents[0].shard == rc.data.Part(Digits("train"), rc.Dirichlet(0.3, 8), 0)
    assert agents[1].shard.distortions == (rc.data.Blur(1.0),)
    again = rc.Experiment(**vars(read))
    assert again == read


@pytest.mark.ray
def test_on_ray_as_in_this_process(ray_cluster):
    """Each agent is asked in a task of its own; the answers are the same."""
    built_in = read_experiment(None, ["--agents.partition.num_parts=3"])
    assert holdings(built_in, address=ray_cluster) == holdings(built_in)
    local, remote = examinations(built_in), examinations(built_in, address=ray_cluster)
    assert [each.suspects for each in remote] == [each.suspects for each in local]
    assert [each.moments for each in remote] == [each.moments for each in local]


@real_data
def test_real_spoken_digits_by_speaker(tmp_path):
    """The parties of a real data set, named by a column of text; each holds fifty of every digit's 450 clips."""
    audio = {"columns": ("wav",), "audio": {"wav": (8000, 1.0)}}
    source = Parquet("fsdd.parquet", **audio, where={"split": ("train",)})
    task = rc.Classification(rc.models.MLP(8000, 10), num_classes=10, inputs="wav")
    agents = rc.Split(source, rc.ByColumn("speaker", ("george", "jackson", "lucas")), (rc.SGD(),))
    test = Parquet("fsdd.parquet", **audio, where={"split": ("test",)})
    made = rc.Experiment(task, agents, (rc.Mean(),), test)
    assert [each.labels.counts for each in holdings(made)] == [(45,) * 10] * 3
    found = examinations(made)
    assert [(each.examples, each.in_test, each.suspects) for each in found] == [(450, 0, None)] * 3
    broken = pq.read_table(os.path.join(os.environ["RAYCOLLAB_DATA"], "fsdd.parquet")).slice(0, 3)
    wavs = [broken["wav"][0].as_py()[:100], None, broken["wav"][2].as_py()]
    pq.write_table(broken.set_column(0, "wav", pa.array(wavs)), tmp_path / "broken.parquet")
    damaged = rc.Agent("here", Parquet(f"{tmp_path}/broken.parquet", **audio), rc.SGD())
    assert examinations(rc.Experiment(task, rc.Parties((damaged,)), (rc.Mean(),), test))[0].unreadable == 2
