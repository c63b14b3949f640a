"""Settings of ledgers and keys that do not go together, and parties that do not sign."""

from dataclasses import replace

import pytest

import raycollab as rc
from raycollab.checkpoint import RunFolder
from raycollab.errors import ConfigError, DataError, TaskMismatchError
from raycollab.keys import new_key
from raycollab.runtime.pool import LocalPool
from raycollab.types import AgentCard

from ..contracts.support import ONE_STEP, Training, digits


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    place = str(tmp_path_factory.mktemp("keys"))
    return [new_key(f"agent-{index}", place) for index in range(4)]


def signed(keys, **settings):
    made = digits(ONE_STEP, num_agents=3, rounds=2, **settings)
    agents = [replace(agent, key=key) for agent, key in zip(made.agents.agents(), keys, strict=False)]
    return replace(made, agents=rc.Parties(tuple(agents)))


def test_keys_without_a_ledger_are_refused(keys):
    with pytest.raises(ConfigError, match=r"CheckpointConfig.ledger=False: agents have keys"):
        signed(keys, checkpoint=rc.CheckpointConfig(ledger=False)).resolved()


def test_some_with_keys_and_some_without_are_refused(keys):
    with pytest.raises(ConfigError, match=r"agents agent-1 have no key, and the others do"):
        signed([keys[0], None, keys[2]]).resolved()


def test_updates_are_kept_for_a_ledger_only():
    with pytest.raises(ConfigError, match=r"CheckpointConfig.updates=True: is for an audit of the ledger"):
        rc.CheckpointConfig(ledger=False, updates=True)


def test_updates_that_secure_sums_hide_are_not_kept():
    made = digits(ONE_STEP, rc.SecureSum(rc.Mean(), min_agents=3), checkpoint=rc.CheckpointConfig(updates=True))
    with pytest.raises(ConfigError, match=r"CheckpointConfig.updates=True: must be false with SecureSum"):
        made.resolved()


def test_a_key_is_a_key():
    with pytest.raises(ConfigError, match=r"Agent\('north'\).key='north.key': must be a Key"):
        rc.Agent("north", rc.data.Digits("train"), ONE_STEP, key="north.key")


def test_a_party_with_another_key_than_the_experiments_ends_the_run_before_it_begins(tmp_path, keys):
    """The driver knows the keys of the experiment, and this party brings another one."""
    made, brought = signed(keys).resolved(), signed([keys[0], keys[3], keys[2]]).resolved()
    pool = LocalPool(brought.session(), brought.members(), brought.layout(num_cpus=1))
    driver = rc.Driver(made.plan(), pool, RunFolder.create(str(tmp_path)))
    with pytest.raises(TaskMismatchError, match=r"agent 'agent-1' has not signed that it approves task"):
        driver.start()


def test_a_key_of_another_public_key_is_named(keys):
    wrong = rc.Key(keys[3].path, keys[1].public)
    with pytest.raises((ConfigError, DataError), match=r"agent-1: Key.public=.*has the public key"):
        Training(signed([keys[0], wrong, keys[2]]))


def test_who_joins_a_run_that_signs_must_sign(keys):
    run = Training(signed(keys)).steps(1)
    guest = digits(ONE_STEP, num_agents=4).agents.agents()[3]
    with pytest.raises(ConfigError, match=r"agent 'agent-3' has no key, and the others of this run sign"):
        run.driver.add_agent(guest)
    card = run.driver.add_agent(replace(guest, key=keys[3]))
    assert isinstance(card, AgentCard)
    assert card.public == keys[3].public
    run.finish()
    assert [row.agent for row in run.reports[-1].agents] == ["agent-0", "agent-1", "agent-2", "agent-3"]
    resumed = Training(replace(run.experiment, run=replace(run.experiment.run, num_rounds=3)), folder=run.folder)
    resumed.finish()
    assert not resumed.reports[-1].failures
