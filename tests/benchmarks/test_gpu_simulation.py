"""G1, the simulation that is for a GPU: on a CPU at a tiny size, with generated images and with real ones."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import raycollab as rc
from benchmarks import rounds_report
from benchmarks.decoded import decoded
from benchmarks.rounds import command_of, launched, run
from benchmarks.systems.ours import made_of
from benchmarks.workloads import WORKLOADS, accuracy, examples, held_out
from benchmarks.workloads.real import PLACE

TINY = WORKLOADS["G1"].tiny()
needs_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


class Elsewhere(nn.Module):
    """Has its parameters on another device than the one that data is made on; ends where it is told its inputs'."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, device="meta"))

    def forward(self, features):
        raise LookupError(f"inputs on {features.device}")


def test_accuracy_is_worked_out_where_the_module_is():
    with pytest.raises(LookupError, match="inputs on meta"):
        accuracy(TINY, Elsewhere())


def test_one_gpu_is_one_process(monkeypatch):
    """Two of torchrun's would ask for a second GPU."""
    monkeypatch.setattr("benchmarks.rounds.interpreter", lambda peer: Path(sys.executable))
    assert [WORKLOADS[name].processes for name in ("W1", "W2", "W3", "W5", "G1")] == [2, 2, 2, 2, 1]
    command = command_of("G1", "pfl")
    assert launched(command, "pfl", WORKLOADS["G1"].processes) == command
    assert "--nproc-per-node=2" in launched(command, "pfl", WORKLOADS["W1"].processes)


def test_generated_images_where_there_are_no_real_ones(monkeypatch, tmp_path):
    monkeypatch.delenv("RAYCOLLAB_DATA", raising=False)
    assert decoded(TINY, str(tmp_path)) is None
    line = run("G1", "floor", tiny=True, unwatched=True)
    assert (line["data"], line["processes"], line["rounds"]) == ("generated", 1, 3)
    assert line["gpu"] == (torch.cuda.get_device_name() if torch.cuda.is_available() else "none")
    by_round = line["seconds_to_first_round"] + sum(line["seconds_by_round"])
    assert line["seconds_in_all"] == pytest.approx(by_round, abs=0.1)


def test_the_shared_set_is_scored_on_the_way(tmp_path):
    result = rc.run_experiment(made_of(TINY, True, "local", 1, str(tmp_path)))
    assert TINY.eval_every == 2
    assert [row.get("accuracy") is not None for row in result.history] == [False, True, True]


@needs_data
def test_real_images_are_the_same_for_all(monkeypatch, tmp_path):
    """An agent's are rows of the Parquet file, each agent has its own, and no other workload knows of them."""
    monkeypatch.setenv(PLACE, decoded(TINY, str(tmp_path)))
    statistics = {"image": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))}
    train = rc.data.Parquet("cifar10_train.parquet", images={"image": "rgb"}, normalize=statistics)
    rows = np.random.default_rng(0).permutation(50_000)[3 * 50 : 4 * 50]
    expected, third = train.open(rows).columns, examples(TINY, 3)
    torch.testing.assert_close(third["features"], expected["image"])
    assert torch.equal(third["label"], expected["label"].long())
    assert not torch.equal(third["features"], examples(TINY, 4)["features"])
    assert held_out(TINY)["features"].shape == (100, 3, 32, 32)
    small = replace(WORKLOADS["W2"].tiny(), examples=2)
    before = examples(small, 0)
    monkeypatch.delenv(PLACE)
    torch.testing.assert_close(examples(small, 0), before)
    assert not torch.equal(examples(TINY, 3)["features"], third["features"])


@needs_data
def test_a_line_says_that_images_are_real():
    line = run("G1", "raycollab-local", tiny=True, unwatched=True)
    assert (line["data"], line["rounds"]) == ("CIFAR-10", 3)


@needs_data
def test_no_more_images_than_there_are(tmp_path):
    with pytest.raises(SystemExit, match=r"50,050 images are asked for and cifar10_train\.parquet has 50,000: ask for"):
        decoded(replace(TINY, agents=1001), str(tmp_path))


def test_the_report_says_what_a_whole_run_is_to_take(tmp_path, monkeypatch, capsys):
    specs = ["raycollab-local:scaling.agents_at_once=50", "pfl"]
    lines = [
        {"workload": "G1", "spec": spec, "repeat": 0, "asked_agents": None, "seconds_in_all": seconds}
        for spec, seconds in zip(specs, (12.0, 48.0), strict=True)
    ]
    path = tmp_path / "lines.jsonl"
    for line in lines:
        rounds_report.keep(path, line)
    command = ["", "--workload", "G1", "--systems", *specs, "--repeats", "0", "--lines", str(path)]
    monkeypatch.setattr(sys, "argv", command)
    rounds_report.main()
    head, _, ours, peer = capsys.readouterr().out.splitlines()[2:6]
    assert head.endswith("| accuracy | in all, s | ratio | to reach |")
    assert ours.endswith("| 12.0 |  | <= 15 s |")
    assert peer.endswith("| 48.0 | 0.25 |  |")
