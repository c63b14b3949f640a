"""The setting: what is accepted, who is bad, and what the experiment says about it."""

from dataclasses import dataclass

import pytest
import yaml

import raycollab as rc
from raycollab.experiment_file import parse_experiment, read_experiment, to_yaml

from ..contracts.support import digits


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "inm", "num_agents": 1},
         r"Attack.kind='inm': must be one of none, sign_flip, label_flip, gaussian, nan, free_rider, mimic, ipm, alie"),
        ({"kind": "ipm"}, r"Attack.num_agents=0: must be >= 1; kind='none' is no attack"),
        ({"num_agents": 2}, r"Attack.kind='none': give a kind too where \['num_agents'\] is set"),
        ({"kind": "nan", "num_agents": 1, "strength": 2.0}, r"Attack.strength=2.0: nan has no strength; leave it out"),
        ({"kind": "ipm", "num_agents": 1, "target": "a"}, r"Attack.target='a': ipm has no target; leave it out"),
        ({"kind": "sign_flip", "num_agents": 1, "strength": -1.0}, r"SignFlip.strength=-1.0: must be > 0"),
    ],
)  # fmt: skip
def test_refuses(settings, message):
    with pytest.raises(rc.ConfigError, match=message):
        rc.Attack(**settings)


@pytest.mark.parametrize("kind", ["sign_flip", "ipm"])
def test_somebody_has_to_be_honest(kind):
    with pytest.raises(rc.ConfigError, match=r"Attack.num_agents=3: must be < 3, the number of agents: somebody"):
        digits(num_agents=3, attack=rc.Attack(kind, num_agents=3)).resolved()
    digits(num_agents=3, attack=rc.Attack(kind, num_agents=2)).resolved()


def test_the_last_agents_are_bad():
    made = digits(num_agents=4, attack=rc.Attack("sign_flip", num_agents=2))
    assert [type(agent.learner).__name__ for agent in made.members()] == ["SGD", "SGD", "Forged", "Forged"]
    rule = digits(num_agents=4, attack=rc.Attack("ipm", num_agents=2)).steps().aggregator
    assert rule.bad == ("agent-2", "agent-3")


def test_without_an_attack_nothing_changes():
    plain = digits(num_agents=4)
    assert not plain.attack
    assert plain.steps().aggregator == rc.Mean()
    assert {type(agent.learner) for agent in plain.members()} == {rc.SGD}


@dataclass(frozen=True)
class Patient(rc.Mode):
    """Keeps older versions."""

    horizon = 3

    def assign(self, selected, state, *, version, seed):
        return [rc.Assignment(name, version) for name in selected], state


def test_collusion_looks_at_one_version():
    with pytest.raises(rc.ConfigError, match=r"Attack.kind='ipm': .* mixes several; use Synchronous\(\)"):
        digits(mode=Patient(), attack=rc.Attack("ipm", num_agents=2)).resolved()
    digits(mode=Patient(), attack=rc.Attack("sign_flip", num_agents=2)).resolved()


@pytest.mark.parametrize("settings", [{"mode": rc.Cyclic()}, {"run": {"agents_per_round": 1}}])
def test_collusion_needs_somebody_to_look_at(settings):
    with pytest.raises(rc.ConfigError, match=r"Attack.kind='ipm': .* brings one update a round; let more agents take"):
        digits(attack=rc.Attack("ipm", num_agents=2), **settings).resolved()
    digits(attack=rc.Attack("sign_flip", num_agents=2), **settings).resolved()


@pytest.mark.parametrize("mode", [rc.Buffered(2)], ids=repr)
def test_collusion_is_refused_in_modes_with_old_versions(mode):
    with pytest.raises(rc.ConfigError, match="mixes several"):
        digits(mode=mode, attack=rc.Attack("mimic", num_agents=2)).resolved()


def test_a_rule_that_needs_more_agents_says_so_under_attack_too():
    @dataclass(frozen=True)
    class Crowd(rc.Mean):
        min_updates = 5

    with pytest.raises(rc.ConfigError, match=r"Crowd\(.*\) needs 5 updates a round"):
        digits(rc.SGD(), Crowd(), num_agents=4, attack=rc.Attack("ipm", num_agents=1)).resolved()
    steps = digits(rc.SGD(), Crowd(), num_agents=6, attack=rc.Attack("ipm", num_agents=1)).steps()
    assert steps.aggregator.min_updates == 5


def test_the_file_holds_it():
    made = read_experiment(None, ["--attack.kind=ipm", "--attack.num_agents=3"]).resolved()
    assert made.attack == rc.Attack("ipm", num_agents=3)
    text = to_yaml(made)
    assert yaml.safe_load(text)["attack"] == {"kind": "ipm", "num_agents": 3, "strength": None, "target": None}
    assert parse_experiment(text, "printed") == made
    stronger = parse_experiment(text, "printed", ["--attack.strength=5"])
    assert stronger.attack == rc.Attack("ipm", num_agents=3, strength=5.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--attack.kind=inm", "Attack.kind='inm': must be one of none, sign_flip"),
        ("--attack.knd=ipm", "unknown key 'knd' of attack; did you mean 'kind'?"),
    ],
)
def test_the_command_line_refuses(override, message):
    with pytest.raises(rc.ConfigError) as raised:
        read_experiment(None, [override])
    assert message in str(raised.value)
