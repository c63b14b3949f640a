"""The side-by-side runs stay alive: each workload at a tiny size, and what the report makes of their lines."""

import json
import sys

import pytest
import torch
from torch.nn import functional

import raycollab as rc
from benchmarks import rounds_report
from benchmarks.goals import goal, settings_of, system_of
from benchmarks.peers.install import interpreter
from benchmarks.rounds import SYSTEMS, run, timed
from benchmarks.systems.floor import Floor
from benchmarks.systems.fused_steps import FusedSteps
from benchmarks.systems.ours import changed, made_of
from benchmarks.systems.parties import Generated
from benchmarks.systems.steps import PlainSteps
from benchmarks.systems.sums import WAYS
from benchmarks.workloads import WORKLOADS, examples, held_out
from benchmarks.workloads.sums import check

ROUNDS = sorted(WORKLOADS)


@pytest.fixture(autouse=True)
def _own_stream():
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize("name", ROUNDS)
def test_one_step_of_the_floor_is_one_of_sgd(name):
    """One agent with one batch, whose order does not matter; the fused step ends there as well."""
    workload = WORKLOADS[name].tiny().sized(agents=1, rounds=1)
    workload = type(workload)(**{**vars(workload), "examples": 8, "batch_size": 8})
    agent, kinds = [examples(workload, 0)], [PlainSteps] if workload.net == "cnn" else [PlainSteps, FusedSteps]
    ends = []
    for kind in kinds:
        steps = kind(workload)
        start = steps.first()
        total = torch.empty_like(start)
        steps.train(start, agent, total)
        ends.append(parameters_of(steps.module(total / workload.examples)))
    expected = one_step(workload, agent[0])
    for end in ends:
        torch.testing.assert_close(end, expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(expected, parameters_of(workload.build()))


def one_step(workload, columns):
    """The parameters after one step of SGD on one batch, by autograd and hand."""
    module = workload.build()
    functional.cross_entropy(module(columns["features"]), columns["label"]).backward()
    return torch.cat([(param - workload.lr * param.grad).detach().reshape(-1) for param in module.parameters()])


def parameters_of(module):
    return torch.cat([param.detach().reshape(-1) for param in module.parameters()])


def test_fused_steps_are_those_of_the_floor():
    """The same seed gives the same batches; a group of ten and a rest, several batches each, equal but for rounding."""
    workload = WORKLOADS["W1"].tiny()
    agents = [examples(workload, agent) for agent in range(13)]
    ends = []
    for kind in (PlainSteps, FusedSteps):
        torch.manual_seed(0)
        steps = kind(workload)
        start = steps.first()
        total = torch.empty_like(start)
        steps.train(start, agents, total)
        ends.append(parameters_of(steps.module(total / (13 * workload.examples))))
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ROUNDS)
@pytest.mark.parametrize("steps", [PlainSteps, FusedSteps])
def test_a_tiny_run_of_the_floor(name, steps, tmp_path):
    workload = WORKLOADS[name].tiny()
    if steps is FusedSteps and workload.net == "cnn":
        with pytest.raises(SystemExit, match=f"floor-fused has no fused step for {name}: its net is 'cnn', not 'mlp'"):
            Floor(workload, steps, 1).run(str(tmp_path))
        return
    Floor(workload, steps, 1).run(str(tmp_path))
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert outcome["ended"] == sorted(outcome["ended"])
    assert len(outcome["ended"]) == workload.rounds
    assert outcome["bytes_moved"] == 0  # one process
    assert 0 <= outcome["accuracy"] <= 1


@pytest.mark.parametrize("name", ROUNDS)
def test_a_tiny_run_of_raycollab_in_one_process(name, tmp_path):
    workload = WORKLOADS[name].tiny()
    result = rc.run_experiment(made_of(workload, True, "local", 1, str(tmp_path)))
    assert result.num_rounds == workload.rounds
    assert [row["agents"] for row in result.history] == [workload.agents_per_round] * workload.rounds
    seen = workload.agents_per_round * workload.examples
    assert sum(row["examples"] for row in result.agents) == seen * workload.rounds


def test_raycollab_ends_where_the_floor_ends(tmp_path):
    """With one example an agent nothing is left to chance: the same parameters after three rounds, but for rounding."""
    workload = WORKLOADS["W3"].tiny()
    result = rc.run_experiment(made_of(workload, True, "local", 1, str(tmp_path)))
    floor = Floor(workload, PlainSteps, 1)
    floor.run(str(tmp_path))
    mine = parameters_of(result.model(trusted=("benchmarks",)).module)
    assert (mine - parameters_of(workload.build())).abs().max() > 1e-3
    torch.testing.assert_close(mine, floor.params, rtol=1e-5, atol=1e-6)


def test_a_run_is_a_line():
    """Two forked processes; the other one reads the parameters and brings a sum, in each of two rounds."""
    line = run("W1", "floor", tiny=True, rounds=2)
    assert (line["workload"], line["system"], line["rounds"], line["processes"]) == ("W1", "floor", 2, 2)
    assert line["bytes_moved"] == 2 * 2 * 4 * WORKLOADS["W1"].tiny().num_params
    assert 0 < line["seconds_a_round"] < line["seconds_to_first_round"]
    assert line["peak_pss_mb"] > 50
    assert json.loads(json.dumps(line)) == line


@pytest.mark.ray
def test_a_tiny_run_on_ray():
    line = run("W1", "raycollab", tiny=True, set=["agents.learner.lr=0.05"])
    assert line["settings"] == ["agents.learner.lr=0.05"]
    assert line["driver_pss_mb"] > 50
    assert line["bytes_moved"] > 0


@pytest.mark.long
@pytest.mark.parametrize("workload", [*ROUNDS, "W4"])
@pytest.mark.parametrize("peer", ["flower", "pfl"])
def test_a_tiny_run_of_a_peer(peer, workload):
    if not interpreter(peer).exists():
        pytest.skip(f"{peer} is not installed; run python -m benchmarks.peers.install --only {peer}")
    line = run(workload, peer, tiny=True, unwatched=True)
    assert (line["workload"], line["system"]) == (workload, peer)
    assert line["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_what_a_workload_does_not_have():
    with pytest.raises(SystemExit, match="W4 is not there for 'floor'; it is for raycollab, torch, numpy, flower, pfl"):
        run("W4", "floor")
    with pytest.raises(SystemExit, match="W1 is not there for 'numpy'; it is for raycollab, raycollab-local, floor"):
        run("W1", "numpy")


def test_a_peer_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.peers.install.ENVIRONMENTS", tmp_path)
    with pytest.raises(SystemExit, match=r"pfl is not installed; run python -m benchmarks\.peers\.install --only pfl"):
        run("W1", "pfl")


def test_a_run_that_fails_says_what_it_said(monkeypatch):
    monkeypatch.setitem(SYSTEMS, "floor", ("json.tool",))
    with pytest.raises(SystemExit, match=r"json\.tool --tiny .* exited with 2:\nusage: python -m json\.tool"):
        run("W1", "floor", tiny=True)
    monkeypatch.setitem(SYSTEMS, "floor", ("this",))  # ends well, but writes no outcome
    with pytest.raises(SystemExit, match=r"this --tiny .* exited with 0:\nThe Zen of Python"):
        run("W1", "floor", tiny=True)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_makes_the_weighted_mean(way):
    vectors, weights = [torch.tensor([1.0, 4.0]), torch.tensor([5.0, 0.0])], [1.0, 3.0]
    add = WAYS[way](vectors, weights)
    torch.testing.assert_close(add(), torch.tensor([4.0, 1.0]))  # (1 + 15) / 4 and (4 + 0) / 4
    torch.testing.assert_close(add(), torch.tensor([4.0, 1.0]))  # again: nothing is left from the first time
    check(add(), vectors, weights)
    with pytest.raises(SystemExit, match=r"the mean is off by 1: whatever is measured here is not the weighted mean"):
        check(add() + 1, vectors, weights)


def test_the_sum_is_a_line():
    line = run("W4", "raycollab", tiny=True)
    assert (line["vectors"], line["params"], line["threads"]) == (8, 10_000, 2)
    assert line["gb_a_second"] > 0
    assert line["share_of_limit"] > 0


def test_data_is_the_same_wherever_it_is_made():
    """By whom it is asked for, and in which order, changes nothing; agents and the test set differ."""
    workload = WORKLOADS["W1"].tiny()
    first = examples(workload, 3)
    other = examples(workload, 4)
    torch.testing.assert_close(Generated("W1", 3, tiny=True).read(), first)
    assert not torch.equal(first["features"], other["features"])
    assert held_out(workload)["features"].shape == (100, 1, 28, 28)


def test_first_weights_leave_the_stream_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second = (parameters_of(WORKLOADS["W2"].tiny().build()) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("name", "count"), [("W1", 159_010), ("W2", 545_098), ("W3", 100_001_670), ("W5", 159_010), ("G1", 1_629_346)]
)
def test_sizes_of_the_models(name, count):
    assert WORKLOADS[name].num_params == count


@pytest.mark.parametrize(("agents", "sampled"), [(10, 1), (100, 10), (1000, 100), (10_000, 1000)])
def test_a_tenth_takes_part(agents, sampled):
    assert WORKLOADS["W5"].sized(agents=agents).agents_per_round == sampled


def test_settings_are_changed_by_path(tmp_path):
    experiment = made_of(WORKLOADS["W1"].tiny(), True, "local", 1, str(tmp_path))
    faster = changed(experiment, ["agents", "learner", "lr"], 0.5)
    assert (faster.agents.learner.lr, experiment.agents.learner.lr) == (0.5, 0.1)
    with pytest.raises(SystemExit, match=r"--set: '0' is inside \(Mean\(.*only settings of dataclasses can be set"):
        changed(experiment, ["chain", "0", "weights"], "uniform")


def test_seconds_are_between_the_ends_of_rounds():
    """Started at 10, rounds end at 12, 13, 16: the first took 2 seconds, the others 1 and 3, so the median is 2."""
    said = timed({"ended": [12.0, 13.0, 16.0], "accuracy": 0.5}, started=10.0)
    assert said["seconds_to_first_round"] == 2.0
    assert said["seconds_by_round"] == [1.0, 3.0]
    assert said["seconds_a_round"] == 2.0
    assert "ended" not in said


def line_of(spec, repeat, seconds, first, memory=None, agents=None):
    names = {"workload": "W1", "spec": spec, "repeat": repeat, "asked_agents": agents, "accuracy": 0.8}
    return {**names, "seconds_a_round": seconds, "seconds_to_first_round": first, "peak_pss_mb": memory}


def test_the_report_pairs_repeats(tmp_path, monkeypatch, capsys):
    """Ratios 2/1, 3/4 and 6/2: their median is 2, the medians' ratio 3/2. Watched runs do not count."""
    ours, floor = [(2.0, 9.0), (3.0, 8.0), (6.0, 7.0)], [(1.0, 2.0), (4.0, 2.0), (2.0, 2.0)]
    lines = [line_of("raycollab", index, *pair) for index, pair in enumerate(ours)]
    lines += [line_of("floor", index, *pair) for index, pair in enumerate(floor)]
    lines += [line_of("raycollab", None, 99.0, 99.0, 500.0), line_of("floor", None, 99.0, 99.0, 100.0)]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    command = ["", "--workload", "W1", "--systems", "raycollab", "floor", "--repeats", "0", "--lines", str(path)]
    monkeypatch.setattr(sys, "argv", command)
    rounds_report.main()
    rows = capsys.readouterr().out.splitlines()
    assert rows[4] == "| raycollab | 3 | 2 - 6 |  |  | 8.0 |  |  | 500 |  | 0.8000 |"
    assert rows[5] == "| floor | 2 | 1 - 4 | 2.00 | <= 1.05 | 2.0 | 4.00 |  | 100 |  | 0.8000 |"


def test_systems_take_turns_and_are_watched_last():
    turns = rounds_report.order(["a", "b"], 2)
    assert turns == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", None), ("b", None)]
    assert rounds_report.order(["a"], 0) == []


def test_the_report_refuses_what_is_not_there():
    with pytest.raises(SystemExit, match="--systems blaze:x=1: W1 is there for raycollab, raycollab-local, floor"):
        rounds_report.check("W1", ["floor", "blaze:x=1"])


def test_settings_of_a_system():
    spec = "raycollab:scaling.agents_at_once=10,processes=1"
    assert system_of(spec) == "raycollab"
    assert settings_of(spec) == {"scaling.agents_at_once": "10", "processes": "1"}
    assert settings_of("floor") == {}


@pytest.mark.parametrize(
    ("workload", "ours", "other", "figure", "limit"),
    [
        ("W1", "raycollab", "floor", "seconds_a_round", 1.05),
        ("W1", "raycollab:scaling.agents_at_once=10", "floor", "seconds_a_round", 0.6),
        ("W1", "raycollab", "pfl", "seconds_a_round", None),  # asked of vectorised agents alone
        ("W1", "raycollab:scaling.agents_at_once=10", "pfl", "seconds_a_round", 0.5),
        ("W3", "raycollab", "floor", "seconds_a_round", 1.3),
        ("W2", "raycollab", "flower", "seconds_to_first_round", 0.7),
        ("W2", "raycollab-local", "flower", "seconds_to_first_round", 0.25),
        ("W1", "raycollab-local", "floor", "seconds_a_round", None),  # one process beside two
        ("W1", "pfl", "floor", "seconds_a_round", None),  # nothing is asked of others
    ],
)
def test_goals(workload, ours, other, figure, limit):
    assert goal(workload, ours, other, figure) == limit
