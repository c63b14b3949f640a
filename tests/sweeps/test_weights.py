"""Sweeps over weights of the agents tell what the best trial made of them."""

from dataclasses import replace
from pathlib import Path

import pytest

import raycollab as rc
from raycollab.sweeps import search

from .test_sweeps import experiment, settings

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.cluster]
OTHERS = [f"party-{place}" for place in range(1, 8)]


def swept(tmp_path, rule, space):
    made = experiment(f"--run.dir={tmp_path}")
    return search(replace(made, chain=(rule,)), settings(space=space, scheduler="none", num_samples=1))


def test_weights_by_agent(tmp_path, ray_cluster):
    """1 and seven halves of 4.5, whatever examples each has; drawn, told in the table, and in agents.parquet."""
    halves = {f"chain.0.by_agent.{name}": {"choice": [0.5]} for name in OTHERS}
    sweep = swept(tmp_path, rc.Mean(by_agent={"party-0": 1.0}), halves)
    assert sweep.shares == pytest.approx({"party-0": 1 / 4.5, **dict.fromkeys(OTHERS, 0.5 / 4.5)})
    assert "shares of the weight in the best one's last round: party-0 0.222, party-1 0.111" in sweep.report()
    assert (Path(sweep.path) / "weights.png").read_bytes().startswith(b"\x89PNG")
    result = rc.run_experiment(sweep.winner)
    assert {row["agent"]: row["weight"] for row in result.agents} == {"party-0": 1.0, **dict.fromkeys(OTHERS, 0.5)}


def test_weights_by_agent_and_group(tmp_path, ray_cluster):
    """Of the first layer's 64 x 128 + 128 elements and of 128 x 10 + 10: a half and all of two agents' weight."""
    rule = rc.PerGroup({"1*": rc.Mean(by_agent={"party-0": 1.0}), "*": rc.Mean(by_agent={"party-0": 1.0})})
    sweep = swept(tmp_path, rule, {"chain.0.rules.1*.by_agent.party-1": {"choice": [1.0]}})
    first, second = 64 * 128 + 128, 128 * 10 + 10
    assert sweep.shares["party-0"] == pytest.approx((first / 2 + second) / (first + second))
    assert sum(sweep.shares.values()) == pytest.approx(1)


def test_rules_without_weights_have_none_to_tell(tmp_path, ray_cluster):
    sweep = swept(tmp_path, rc.Median(), {"agents.learners.0.lr": {"choice": [0.1]}})
    assert sweep.shares == {}
    assert not (Path(sweep.path) / "weights.png").exists()
    assert "shares" not in sweep.report()
