"""All at once: noise that parties count, sums under masks, signatures in a ledger; and what a restart keeps of it."""

import os
from dataclasses import replace

import pytest
import torch
import yaml

import raycollab as rc
from raycollab.checkpoint import RunFolder
from raycollab.keys import new_key
from raycollab.ledger.audit import audited
from raycollab.privacy import RDP, PrivacyBudget

from .support import ONE_STEP, Training, digits

DELTA = 1e-4
NAMES = tuple(f"agent-{i}" for i in range(5))
LEARNER = rc.DPSGD(noise=1.0, max_grad_norm=1.0, lr=0.1, steps=2, batch_size=8)
SHARE = rc.NoiseShare(noise=2.0, max_norm=0.1, agents=3, budget=PrivacyBudget(delta=DELTA))
BUDGETED = 2  # rounds that the first agent, or with shares of noise every agent, has budget for


def by_examples(folder):
    """Each agent adds noise to its steps; the first one's budget is spent early."""
    made = hospitals(folder, [LEARNER] * 5, rc.SecureSum(rc.Mean(), min_agents=3))
    size = Training(made).cards[0].examples
    learners = [replace(agent.learner, budget=PrivacyBudget(delta=DELTA)) for agent in made.agents.agents()]
    learners[0] = replace(learners[0], budget=PrivacyBudget(between(1.0, 8 / size, 2), DELTA))
    return replace(made, agents=with_learners(made, learners))


def by_parties(folder):
    """Agents make the noise together, and all of them stop at once."""
    share = replace(SHARE, noise_key=f"{folder}/{NAMES[0]}.noise", budget=PrivacyBudget(between(2.0, 1.0, 1), DELTA))
    return hospitals(folder, [ONE_STEP] * 5, share, rc.SecureSum(rc.Mean("uniform"), min_agents=3))


def between(noise, rate, steps):
    """An epsilon that suffices for the budgeted rounds of so many steps, and for no more."""
    rounds = (BUDGETED, BUDGETED + 1)
    return sum(RDP().epsilon(noise, rate, steps * count, DELTA) for count in rounds) / 2


def hospitals(folder, learners, *chain):
    """Agents that have signing keys and keys for their noise."""
    for name in NAMES:
        path = folder / f"{name}.noise"
        path.touch(mode=0o600)
        path.write_bytes(os.urandom(32))
    keyed = [
        replace(learner, noise_key=f"{folder}/{name}.noise") if isinstance(learner, rc.DPSGD) else learner
        for name, learner in zip(NAMES, learners, strict=True)
    ]
    made = digits(ONE_STEP, *chain, num_agents=5, rounds=4, run={"eval_every": 4})
    made = replace(made, agents=with_learners(made, keyed))
    keys = {name: new_key(name, str(folder)) for name in NAMES}
    signing = [replace(agent, key=keys[agent.name], val_fraction=0.0) for agent in made.agents.agents()]
    return replace(made, agents=rc.Parties(tuple(signing)))


def with_learners(made, learners):
    pairs = zip(made.agents.agents(), learners, strict=True)
    return rc.Parties(tuple(replace(agent, learner=learner) for agent, learner in pairs))


def begun(made, folder):
    """A training whose folder holds its experiment, as that of any run does."""
    folder.write_text("experiment.yaml", yaml.safe_dump(made.to_plain()))
    return Training(made, folder=folder)


def told(training):
    """What every round's agents say that they have spent, by round and agent."""
    return {
        (report.index, row.agent): row.epsilon if row.epsilon == row.epsilon else row.party_epsilon
        for report in training.reports
        for row in report.agents
    }


@pytest.mark.parametrize("made_by", [by_examples, by_parties])
def test_a_restart_keeps_budget_and_chain(made_by, tmp_path):
    """Killed after round 2, of which no checkpoint is left: it is replayed, and counted and written down once."""
    made = made_by(tmp_path)
    whole = Training(made).finish()
    killed = begun(made, RunFolder.create(str(tmp_path), "killed")).steps(2)
    killed.folder.storage.delete("checkpoints/000002")
    resumed = Training(made, folder=killed.folder).finish()
    assert torch.equal(resumed.params, whole.params)
    assert resumed.driver.roster.spent == whole.driver.roster.spent
    assert resumed.driver.roster.spent[NAMES[0]] == BUDGETED
    assert resumed.driver.stop_reason == whole.driver.stop_reason
    assert told(resumed) == {place: epsilon for place, epsilon in told(whole).items() if place[0] >= 2}
    audit = audited(resumed.folder)
    assert audit.findings == []
    written = [line.record["round"] for line in audit.lines if line.record["kind"] == "round"]
    assert written == sorted(set(written)) == sorted({index for index, _ in told(whole)})


@pytest.mark.parametrize("made_by", [by_examples, by_parties])
def test_what_was_spent_stands_in_the_ledger_under_each_partys_signature(made_by, tmp_path):
    training = begun(made_by(tmp_path), RunFolder.create(str(tmp_path), "run")).finish()
    audit = audited(training.folder)
    rounds = {index: entry["agents"] for index, entry in audit.rounds.items()}
    found = {(index, name): row["sent"]["epsilon"] for index, agents in rounds.items() for name, row in agents.items()}
    assert found == told(training)
    assert audit.signatures == len(NAMES) + len(found)
    assert all(sent["sent"]["norm"] is None for agents in rounds.values() for sent in agents.values())  # masked


def test_who_has_spent_its_budget_stays_out_and_the_others_go_on(tmp_path):
    training = Training(by_examples(tmp_path)).finish()
    assert [len(report.agents) for report in training.reports] == [5, 5, 4, 4]
    assert max(index for index, name in told(training) if name == NAMES[0]) == BUDGETED
