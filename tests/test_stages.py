"""Stages: what is handed on, what a resume goes on with, and what is refused."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab import deploy
from raycollab.beginning import take_over
from raycollab.callbacks import Callback
from raycollab.cli import main
from raycollab.data import Arrays, Digits
from raycollab.errors import ConfigError, ModelError, RunFolderError
from raycollab.experiment_file import read_stages
from raycollab.models import IA3, Adapted, LoRA
from raycollab.runtime.session import build_model

LOCAL = rc.ScalingConfig(pool="local")
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="the extra `adapters` is not installed")
NUM_PARAMETERS = 3 * 4 + 4 + 4 * 2 + 2  # of the net that experiment() trains
FILE = """
task: {class_path: Classification, init_args: {net: {class_path: MLP, init_args: {num_features: 64, num_outputs: 10}},
  num_classes: 10, inputs: image}}
agents: {class_path: Split, init_args: {source: {class_path: Digits}, partition: {class_path: IID, init_args:
  {num_parts: 2}}, learners: [{class_path: SGD, init_args: {lr: 0.1}}]}}
chain: [{class_path: Mean}]
test: {class_path: Digits, init_args: {part: test}}
scaling: {pool: local}
run: {dir: RUNS, name: two, num_rounds: 2}
stages:
  - {name: pretrain}
  - {name: transfer, run: {num_rounds: 1}, exchange: {exclude: ["3.*"]}}
"""
THREE = """
agents: {class_path: Split, init_args: {source: {class_path: Digits}, partition: {class_path: IID, init_args:
  {num_parts: 2}}, learners: [{class_path: SGD, init_args: {lr: 0.1, momentum: 0.9}}]}}
chain: [{class_path: Mean}]
test: {class_path: Digits, init_args: {part: test}}
scaling: {pool: local}
run: {dir: RUNS, name: three, num_rounds: 2}
stages:
  - name: pretrain # without labels
    task: {class_path: SimCLR, init_args: {augment: [{class_path: ResizedCrop}], net: {class_path: Headed, init_args: {
      trunk: &trunk {class_path: MLP, init_args: {num_features: 64, num_outputs: 16, hidden: [32]}},
      head: {class_path: MLP, init_args: {num_features: 16, num_outputs: 8, hidden: []}}}}}}
  - name: tune # which digit it is
    task: {class_path: ImageClassification, init_args: {num_classes: 10, net: {class_path: Headed, init_args: {
      trunk: *trunk, head: {class_path: MLP, init_args: {num_features: 16, num_outputs: 10, hidden: []}}}}}}
  - name: transfer # whether it is odd
    task: {class_path: ImageClassification, init_args: {num_classes: 2, net: NET}}
    agents: {class_path: Split, init_args: {source: &odd {class_path: Parquet, init_args: {path: ODD, shapes:
      {image: [1, 8, 8]}}}, partition: {class_path: IID, init_args: {num_parts: 2}},
      learners: [{class_path: SGD, init_args: {lr: 0.03, momentum: 0.9, epochs: 5}}]}}
    test: *odd
    exchange: EXCHANGE
"""
OTHER_HEAD = """{class_path: Headed, init_args: {trunk: *trunk,
      head: {class_path: MLP, init_args: {num_features: 16, num_outputs: 2, hidden: []}}}}"""
ADAPTERS = f"""{{class_path: Adapted, init_args: {{net: {OTHER_HEAD},
      adapter: {{class_path: LoRA, init_args: {{targets: ["trunk.*"], rank: 4, also: ["head.*"]}}}}}}}}"""


def task(num_classes, hidden=4):
    return rc.Classification(rc.models.MLP(3, num_classes, (hidden,)), num_classes)


def rows(seed):
    features = torch.randn(24, 3, generator=torch.Generator().manual_seed(seed))
    return Arrays({"features": features, "label": (features[:, 0] > 0).long()})


def experiment(folder, num_classes=2, hidden=4, num_rounds=2, **settings):
    agents = rc.Parties(tuple(rc.Agent(f"a{i}", rows(i), rc.SGD(lr=0.5)) for i in range(2)))
    run = rc.RunConfig(dir=str(folder), name="all", num_rounds=num_rounds)
    return rc.Experiment(task(num_classes, hidden), agents, (rc.Mean(),), rows(9), run=run, scaling=LOCAL, **settings)


class Heard(Callback):
    def __init__(self, stop_in_round=None):
        self.notes, self.rounds, self.stop = [], 0, stop_in_round

    def on_round(self, report):
        self.notes += report.notes
        self.rounds += 1
        if self.rounds == self.stop:
            raise RuntimeError("killed")


def weights(path):
    return deploy.load_model(path).module.state_dict()


def test_take_over_copies_equal_shapes_of_one_name_and_says_which_are_fresh(tmp_path):
    result = rc.run_stages({"first": experiment(tmp_path)}).last
    module = task(5).model()
    head = module.state_dict()["3.weight"].clone()
    told = take_over(module, result.path)
    assert torch.equal(module.state_dict()["1.weight"], weights(result.path)["1.weight"])
    assert torch.equal(module.state_dict()["3.weight"], head)
    assert "2 tensors taken over; fresh: 3.weight, 3.bias" in told


def test_agents_begin_their_private_part_from_it_too(tmp_path):
    path = rc.run_stages({"first": experiment(tmp_path)}).last.path
    model = build_model(task(2), rc.Exchange(exclude="3.*"), 7, start=path)
    assert torch.equal(model.private()["3.weight"], weights(path)["3.weight"])


@needs_peft
@pytest.mark.parametrize("adapter", [LoRA(("1",), rank=2), LoRA(("1",), rank=2, dora=True), IA3(("1", "3"))])
def test_layers_that_have_adapters_now_take_over_what_they_were(adapter, tmp_path):
    """Adapters begin by changing nothing: the model says what the saved one says."""
    path = rc.run_stages({"first": experiment(tmp_path)}).last.path
    module = Adapted(task(2).net, adapter).build().eval()
    told = take_over(module, path)
    features = rows(9).read()["features"]
    torch.testing.assert_close(module(features), deploy.load_model(path).module(features))
    assert "4 tensors taken over; fresh: 1." in told


@needs_peft
def test_adapters_are_not_lost_unsaid(tmp_path):
    """A net without adapters does not begin from half of a layer that has one; written merged, it begins from all."""
    first = experiment(tmp_path)
    adapted = replace(first.task, net=Adapted(first.task.net, LoRA(("1",), rank=2, also=("3.*",))))
    path = rc.run_stages({"first": replace(first, task=adapted)}).last.path
    module = task(2).model()
    message = r"'1\.base_layer\.\w+' is of a layer with an adapter, and '1\.\w+' of one without: write it merged"
    with pytest.raises(ModelError, match=message):
        take_over(module, path)
    assert take_over(module, rc.export(path, str(tmp_path / "merged")).folder).endswith("nothing is fresh")
    features = rows(9).read()["features"]
    torch.testing.assert_close(module(features), deploy.load_model(path).module(features))


def test_each_stage_starts_from_the_model_of_the_last_one(tmp_path):
    heard = Heard()
    stages = {"pretrain": experiment(tmp_path), "transfer": experiment(tmp_path, num_classes=3, num_rounds=1)}
    result = rc.run_stages(stages, callbacks=[heard])
    told = [note for note in heard.notes if note.startswith("starts from")]
    assert len(told) == 1
    assert told[0].endswith("1-pretrain: 2 tensors taken over; fresh: 3.weight, 3.bias")
    by_hand = replace(stages["transfer"].run, name="hand", start=result.results["pretrain"].path)
    alone = rc.run_experiment(replace(stages["transfer"], run=by_hand))
    assert all(torch.equal(value, weights(alone.path)[name]) for name, value in weights(result.last.path).items())


def test_the_report_states_bytes_and_seconds_of_each_stage(tmp_path):
    """In one process: each round sends the vector down to both agents, and as many come up with their weights."""
    result = rc.run_stages({"pretrain": experiment(tmp_path), "transfer": experiment(tmp_path, num_rounds=1)})
    before, after = (line.split("  ") for line in result.report().splitlines())
    stages = list(result.results.values())
    for line, name, stage in zip((before, after), ("pretrain", "transfer"), stages, strict=True):
        up = sum(row["bytes_up"] for row in stage.history)
        down = sum(row["bytes_down"] for row in stage.history)
        size = (Path(stage.path) / "model" / "model.safetensors").stat().st_size
        stated = [f"{up:,} bytes up", f"{down:,} down", f"{stage.seconds:.1f} s", f"model {size:,} bytes"]
        assert line[:5] == [f"{name}: {stage.num_rounds} rounds", *stated]
        assert down == stage.num_rounds * 2 * 4 * NUM_PARAMETERS
        assert down <= up < 1.5 * down


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_resume_goes_on_in_the_stage_under_way_to_the_same_bits(tmp_path, killed_after):
    whole = {"one": experiment(tmp_path / "whole"), "two": experiment(tmp_path / "whole")}
    cut = {"one": experiment(tmp_path / "cut"), "two": experiment(tmp_path / "cut")}
    with pytest.raises(RuntimeError, match="killed") as caught:
        rc.run_stages(cut, callbacks=[Heard(killed_after)])
    assert f"raycollab resume {tmp_path}/cut/all" in caught.value.__notes__[-1]
    resumed = rc.run_stages(cut, resume=str(tmp_path / "cut" / "all"))
    straight = rc.run_stages(whole)
    assert all(torch.equal(v, weights(resumed.last.path)[name]) for name, v in weights(straight.last.path).items())


def test_changed_stages_are_refused(tmp_path):
    stages = {"one": experiment(tmp_path), "two": experiment(tmp_path)}
    folder = rc.run_stages(stages).path
    changed = replace(stages["two"], run=replace(stages["two"].run, seed=1))
    with pytest.raises(RunFolderError, match=r"two\.run\.seed: 0 -> 1"):
        rc.run_stages({**stages, "two": changed}, resume=folder)
    with pytest.raises(RunFolderError, match="stages: one, two -> one"):
        rc.run_stages({"one": stages["one"]}, resume=folder)
    with pytest.raises(ConfigError, match=r"must be a folder of stages, which holds stages\.yaml"):
        rc.run_stages(stages, resume=str(tmp_path))


def test_a_stage_that_shares_nothing_is_refused(tmp_path):
    other = experiment(tmp_path, num_classes=3, hidden=5)
    with pytest.raises(ModelError, match="shares no tensor of one name and shape with Sequential"):
        rc.run_stages({"one": experiment(tmp_path), "two": other})


def test_a_start_without_a_model_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="give a run folder whose run has ended"):
        build_model(task(2), rc.Exchange(), 0, start=str(tmp_path))
    with pytest.raises(ConfigError, match=r"RunConfig\.start"):
        rc.RunConfig(start="")


def test_the_example_runs(tmp_path, capsys):
    file = Path(__file__).parent.parent / "examples" / "stages.yaml"
    small = [f"--run.dir={tmp_path}", "--run.num_rounds=1", "--scaling.pool=local"]
    assert main(["run", str(file), *small]) == 0
    assert "tune: 1 rounds" in capsys.readouterr().out


def write(tmp_path, text=FILE):
    path = tmp_path / "two.yaml"
    path.write_text(text.replace("RUNS", str(tmp_path)))
    return str(path)


def test_a_file_of_stages_lays_each_over_what_is_common(tmp_path):
    stages = read_stages(write(tmp_path), ["--run.seed=5"])
    assert [(each.run.num_rounds, each.run.seed) for each in stages.values()] == [(2, 5), (1, 5)]
    assert stages["transfer"].exchange.exclude == ("3.*",)
    assert stages["pretrain"].test == stages["transfer"].test == Digits("test")


def test_the_command_runs_and_resumes_a_file_of_stages(tmp_path, capsys):
    path = write(tmp_path)
    assert main(["run", path, "--print-config"]) == 0
    assert "# stage transfer" in capsys.readouterr().out
    assert main(["run", path]) == 0
    assert "transfer: 1 rounds" in capsys.readouterr().out
    assert main(["resume", str(tmp_path / "two")]) == 0
    assert "already finished after 2 rounds" in capsys.readouterr().out


def odd_digits(tmp_path):
    """The test digits, and whether each is odd."""
    held = Digits("test").read()
    path = tmp_path / "odd.parquet"
    pq.write_table(pa.table({"image": held["image"].flatten(1).tolist(), "label": (held["label"] % 2).tolist()}), path)
    return str(path)


@pytest.mark.parametrize(
    ("net", "exchange"),
    [(OTHER_HEAD, "all"), pytest.param(ADAPTERS, "adapters", marks=needs_peft)],
    ids=["a fresh head", "adapters"],
)
def test_three_stages_of_three_tasks_in_a_file(tmp_path, net, exchange):
    """Pretrained without labels, tuned with labels, transferred to others; killed in the last stage and resumed."""
    text = THREE.replace("NET", net).replace("EXCHANGE", exchange).replace("ODD", odd_digits(tmp_path))
    whole, cut = (read_stages(write(tmp_path, text.replace("name: three", f"name: {name}"))) for name in ("all", "cut"))
    heard = Heard()
    results = rc.run_stages(whole, callbacks=[heard]).results
    with pytest.raises(RuntimeError, match="killed"):
        rc.run_stages(cut, callbacks=[Heard(5)])
    assert main(["resume", str(tmp_path / "cut")]) == 0
    pretrained, tuned, last = (weights(result.path) for result in results.values())
    again = weights(str(tmp_path / "cut" / "3-transfer"))
    assert all(torch.equal(value, again[name]) for name, value in last.items())
    tuning, transferring = (note for note in heard.notes if note.startswith("starts from"))
    assert tuning.endswith("1-pretrain: 4 tensors taken over; fresh: head.1.weight, head.1.bias")
    assert "2-tune: 4 tensors taken over; fresh: " in transferring
    assert results["tune"].metrics["accuracy"] > 0.5
    assert not torch.equal(pretrained["trunk.1.weight"], tuned["trunk.1.weight"])
    if exchange == "adapters":
        assert torch.equal(last["trunk.1.base_layer.weight"], tuned["trunk.1.weight"])
        size = 4 * (64 + 32) + 4 * (32 + 16)
        assert {row["bytes_down"] for row in results["transfer"].history} == {2 * 4 * size}
        own = [rc.load(results["transfer"].path, agent=f"party-{i}") for i in range(2)]
    else:
        own = [rc.load(results["transfer"].path)]
    assert min(model.evaluate(whole["transfer"].test).compute()["accuracy"] for model in own) > 0.8


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("name: transfer", "name: pretrain", "the name 'pretrain' is used more than once"),
        ("name: transfer", "name: a/b", "the name 'a/b': must be letters"),
        ("{name: pretrain}", "pretrain", "must be a list of mappings, each with a name"),
        ("num_rounds: 1", "num_rounds: 0", "num_rounds"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, before, after, message):
    with pytest.raises(ConfigError, match=message):
        read_stages(write(tmp_path, FILE.replace(before, after)))
