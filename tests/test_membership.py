"""Agents that join and leave between rounds, and a resume that brings them back."""

from dataclasses import replace

import pytest
import torch

from raycollab.agent import Agent
from raycollab.aggregation import Mean
from raycollab.config import FailureConfig, RunConfig
from raycollab.data import IID, Digits
from raycollab.errors import ConfigError, DataError
from raycollab.experiment import Experiment
from raycollab.learners import SGD, Scaffold
from raycollab.models import MLP
from raycollab.population import Split
from raycollab.spec import PARAMS
from raycollab.tasks import ImageClassification

from .driver.support import local

LEARNER = SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2, batch_size=8)
PARTS = Digits("train").split(IID(num_parts=5))
LATE = Agent("late", PARTS[4], LEARNER)


def made(**settings):
    task = ImageClassification(MLP(64, 10, (8,)), 10)
    population = Split(Digits("train"), IID(num_parts=3), (LEARNER,), name="party-{}")
    settings = {"run": RunConfig(num_rounds=6), **settings}
    return Experiment(task, population, (Mean(),), Digits("test"), **settings).resolved()


def started(path, experiment=None):
    driver = local(path, experiment or made())
    driver.start()
    return driver


def names(report):
    return [agent.agent for agent in report.agents]


def test_a_joiner_starts_from_the_current_round_in_a_block_of_its_own(tmp_path):
    driver = started(tmp_path / "run")
    driver.step()
    current = driver.vectors[PARAMS].clone()
    card = driver.add_agent(LATE)
    assert (card.agent, card.learner) == ("late", "SGD")
    assert torch.equal(driver.vectors[PARAMS], current)
    report = driver.step()
    assert names(report) == ["party-0", "party-1", "party-2", "late"]
    assert report.notes == ("late joined after round 1",)
    assert not any(agent.fresh for agent in report.agents)


def test_who_leaves_is_not_asked_again_and_may_come_back_as_a_new_agent(tmp_path):
    driver = started(tmp_path / "run")
    driver.step()
    driver.remove_agent("party-1")
    assert names(driver.step()) == ["party-0", "party-2"]
    driver.add_agent(replace(LATE, name="party-1"))
    report = driver.step()
    assert names(report) == ["party-0", "party-2", "party-1"]
    assert not any(agent.fresh for agent in report.agents)


def test_members_and_bits_survive_a_resume(tmp_path):
    """Killed after each of the rounds; two came late, one of them left, one of the first as well."""

    def changes(driver):
        if driver.version == 1 and "late" not in driver.roster.names:
            driver.add_agent(replace(LATE, name="guest"))
            driver.add_agent(LATE)
        if driver.version == 3 and "guest" in driver.roster.names:
            driver.remove_agent("guest")
            driver.remove_agent("party-0")

    whole = started(tmp_path / "whole")
    while not whole.stop_reason:
        whole.step()
        changes(whole)
    for _ in range(6):
        driver = started(tmp_path / "killed")
        changes(driver)
        driver.step()
        changes(driver)
    assert driver.stop_reason == "num_rounds=6"
    assert torch.equal(driver.vectors[PARAMS], whole.vectors[PARAMS])
    assert driver.roster.names == ["party-1", "party-2", "late"]
    rows = [[row["agent"] for row in each["agent_rows"]] for each in driver.folder.rows()]
    assert rows[1] == ["party-0", "party-1", "party-2", "guest", "late"]
    assert rows[-1] == ["party-1", "party-2", "late"]


def test_a_sample_stays_as_large_as_it_was(tmp_path):
    driver = started(tmp_path / "run", made(run=RunConfig(num_rounds=3, agents_per_round=2)))
    driver.add_agent(LATE)
    assert len(driver.step().agents) == 2


def test_who_cannot_join(tmp_path):
    driver = started(tmp_path / "run")
    with pytest.raises(ConfigError, match="add_agent: there is an agent 'party-0' already; give each its own name"):
        driver.add_agent(replace(LATE, name="party-0"))
    with pytest.raises(ConfigError, match=r"agent 'late': Scaffold does not fit this run, which lacks \['control'\]"):
        driver.add_agent(replace(LATE, learner=Scaffold(SGD())))
    missing = replace(LATE, shard=Digits("train").split(IID(num_parts=99999))[5])
    with pytest.raises(DataError, match="1 of 1 agents could not start:\n  late: "):
        driver.add_agent(missing)
    assert driver.roster.names == ["party-0", "party-1", "party-2"]
    assert names(driver.step()) == ["party-0", "party-1", "party-2"]


class Own(SGD):
    """A learner of another package than raycollab."""


def test_who_a_resume_could_not_bring_back_cannot_join(tmp_path):
    """Only what the experiment names is imported on a resume; with agents of that package the same one may join."""
    package = Own.__module__.partition(".")[0]
    stranger = replace(LATE, learner=Own(lr=0.1, steps=2, batch_size=8))
    driver = started(tmp_path / "run")
    with pytest.raises(ConfigError) as refused:
        driver.add_agent(stranger)
    assert str(refused.value) == (
        f"add_agent: agent 'late' is made of classes of {package}, and a resume imports only the packages that the "
        f"experiment names, raycollab: it could not bring the agent back; give it classes of those, or begin a run "
        f"whose experiment names {package}"
    )
    assert driver.roster.names == ["party-0", "party-1", "party-2"]
    known = made()
    known = replace(known, agents=replace(known.agents, learners=(Own(lr=0.1, steps=2, batch_size=8),)))
    driver = started(tmp_path / "other", known)
    driver.add_agent(stranger)
    driver.step()
    assert names(started(tmp_path / "other", known).step()) == ["party-0", "party-1", "party-2", "late"]


def test_who_cannot_leave(tmp_path):
    driver = started(tmp_path / "run", made(failure=FailureConfig(min_agents=3)))
    with pytest.raises(
        ConfigError, match="remove_agent: there is no agent 'x'; the agents are party-0, party-1, party-2"
    ):
        driver.remove_agent("x")
    with pytest.raises(ConfigError, match="remove_agent: without 'party-0' 2 agents are left, and a round needs 3"):
        driver.remove_agent("party-0")
