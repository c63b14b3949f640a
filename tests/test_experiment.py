from dataclasses import dataclass, replace

import pytest
import torch
import yaml

from raycollab.agent import Agent
from raycollab.aggregation import Bucketing, Krum, Mean, PerGroup
from raycollab.attacks import Attack
from raycollab.chains import Chain
from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from raycollab.continuation import changed_settings
from raycollab.data import IID, Arrays, Digits
from raycollab.errors import ConfigError
from raycollab.experiment import Experiment
from raycollab.learners import SGD
from raycollab.models import CNN, MLP
from raycollab.modes import Buffered, PerAgent, SemiSynchronous, Synchronous
from raycollab.params import Exchange
from raycollab.population import Parties, Split
from raycollab.recipe import only_in_python
from raycollab.selection import ByWeight
from raycollab.tasks import ImageClassification
from raycollab.transforms import ClipNorm

TASK = ImageClassification(CNN(10, size=8, channels=(2,), hidden=4), 10)


@dataclass(frozen=True)
class Controlled(SGD):
    """Needs and sends a control vector."""

    needs = ("control", "anchor")
    sends = (*SGD.sends, "control")


@dataclass(frozen=True)
class ByControl(Mean):
    """Needs a control vector of everybody, and a scalar that all local learners send."""

    needs = ("control", "steps")


LEARNER = SGD()


def experiment(num_agents=6, learners=(LEARNER,), **settings):
    agents = Split(Digits("train"), IID(num_agents), learners)
    return Experiment(**{"task": TASK, "agents": agents, "chain": (Mean(),), "test": Digits("test"), **settings})


def test_resolved_fills_in_what_depends_on_the_agents():
    run = experiment(6).resolved().run
    assert run.agents_per_round == 6
    assert experiment(6).resolved() == experiment(6).resolved().resolved()


def test_resolved_keeps_what_is_set():
    run = experiment(6, run=RunConfig(num_blocks=2, agents_per_round=3)).resolved().run
    assert (run.num_blocks, run.agents_per_round) == (2, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"run": RunConfig(agents_per_round=7)}, "RunConfig.agents_per_round=7: there are only 6 agents"),
        (
            {"run": RunConfig(num_blocks=7)},
            "RunConfig.num_blocks=7: there are only 6 agents, and a block needs at least one",
        ),
        ({"failure": FailureConfig(min_agents=7)}, "FailureConfig.min_agents=7: a round has only 6 agents"),
        (
            {"failure": FailureConfig(min_agents=4), "run": RunConfig(agents_per_round=3)},
            "FailureConfig.min_agents=4: a round has only 3 agents",
        ),
        (
            {"mode": Synchronous(over_select=0.3)},
            r"Synchronous\(over_select=0.3\): a round takes all 6 agents already; set RunConfig.agents_per_round",
        ),
        (
            {"select": ByWeight({"party-9": 1.0})},
            "ByWeight.weights: there is no agent 'party-9'; the agents are party-0, ",
        ),
        (
            {"mode": SemiSynchronous(1.0, PerAgent({"party-9": 1.0}))},
            "PerAgent.by_agent: there is no agent 'party-9'; the agents are party-0, ",
        ),
        ({"mode": Buffered(2, durations=PerAgent({"party-9": 1.0}))}, "PerAgent.by_agent: there is no agent 'party-9'"),
        ({"chain": (ByControl(),)}, r"agent 'party-0': ByControl needs \['control'\], which SGD does not send"),
        (
            {"chain": (ByControl(),), "learners": (Controlled(), SGD())},
            r"agent 'party-1': ByControl needs \['control'\], which SGD does not send",
        ),
    ],
)
def test_resolved_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        experiment(**settings).resolved()


def test_names_of_agents_are_accepted():
    named = {f"party-{i}": 1.0 + i for i in range(6)}
    experiment(select=ByWeight(named), mode=SemiSynchronous(1.0, PerAgent(named))).resolved()
    experiment(mode=Buffered(2, durations=PerAgent(named))).resolved()


def test_rules_inside_others_are_warned_of():
    """Also two levels down, and each once."""
    told = "Krum(f=1) tolerates 1 bad updates a round, and 2 agents are bad"
    attack, krum = Attack("sign_flip", num_agents=2), Krum(f=1)
    groups = {"1.*": Bucketing(krum, size=2), "3.weight": krum, "*": Krum(f=2)}
    for rule in (krum, Bucketing(krum, size=2), PerGroup(groups)):
        assert experiment(20, chain=(rule,), attack=attack).warnings() == [told]
        assert experiment(20, chain=(rule,)).warnings() == []
    assert experiment(20, chain=(PerGroup({"*": Krum(f=2)}),), attack=attack).warnings() == []
    assert experiment(20, chain=(Mean(),), attack=attack).warnings() == []


@pytest.mark.parametrize("min_agents", [1, 0.01, 0.99, 6])
def test_a_quorum_that_can_be_met(min_agents):
    experiment(failure=FailureConfig(min_agents=min_agents)).resolved()


def test_a_rule_whose_needs_everybody_sends():
    made = experiment(chain=(ByControl(),), learners=(Controlled(),))
    assert made.plan().needs == ("anchor", "control")
    assert experiment().plan().needs == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": MLP(2, 2)}, "experiment.task=MLP.*: must be a Task"),
        ({"agents": [Agent("a", Digits(), SGD())]}, "experiment.agents=.*: must be a Population"),
        ({"test": "digits"}, "experiment.test='digits': must be a Source"),
        ({"exchange": ("head.*",)}, r"experiment.exchange=\('head.\*',\): must be a Exchange"),
        ({"exchange": "some"}, r"exchange='some': must be 'all', 'adapters' or an Exchange\(...\)"),
        ({"chain": ()}, "chain: 0 aggregators"),
        ({"chain": (Mean(), Mean())}, "chain: 2 aggregators"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        experiment(**settings)


@pytest.mark.parametrize(
    ("num_agents", "scaling", "run", "num_cpus", "hosts"),
    [
        (6, {}, {}, 2, 6),  # each its own up to 16
        (16, {}, {}, 2, 16),
        (17, {}, {}, 4, 4),  # then one per CPU
        (17, {}, {}, 0, 1),
        (17, {}, {}, 400, 17),
        (6, {}, {"num_blocks": 2}, 8, 2),  # never more than blocks
        (6, {"agents_per_host": 1}, {}, 1, 6),
        (6, {"agents_per_host": 4}, {}, 8, 2),
        (6, {"agents_per_host": 100}, {}, 8, 1),
    ],
)
def test_num_hosts(num_agents, scaling, run, num_cpus, hosts):
    made = experiment(num_agents, scaling=ScalingConfig(**scaling), run=RunConfig(**run)).resolved()
    assert made.num_hosts(num_cpus) == hosts


def test_the_plan_knows_no_data_and_the_session_no_names():
    made = experiment(exchange=Exchange(exclude=("*.bias",)), chain=(ClipNorm(1.0), Mean())).resolved()
    plan, session = made.plan(), made.session()
    assert plan.names == tuple(f"party-{i}" for i in range(6))
    assert plan.chain == session.chain == made.steps() == Chain((ClipNorm(1.0), Mean()))
    assert (plan.exchange, session.exchange) == (made.exchange, made.exchange)
    assert "Digits" not in repr(session)


def test_plain_is_yaml_and_changes_nothing():
    made = experiment().resolved()
    plain = yaml.safe_load(yaml.safe_dump(made.to_plain(), sort_keys=False))
    assert plain == made.to_plain()
    assert changed_settings(plain, made.to_plain()) == []
    assert plain["run"]["agents_per_round"] == 6
    assert plain["task"]["class_path"] == "raycollab.tasks.ImageClassification"


def test_what_stands_in_memory_leaves_a_mark():
    data = Arrays({"image": torch.zeros(4, 1, 8, 8), "label": torch.zeros(4, dtype=torch.int64)})
    made = experiment(agents=Parties((Agent("a", data, SGD()),)))
    assert only_in_python(made.to_plain()) == "Arrays"
    assert only_in_python(experiment().to_plain()) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"run": RunConfig(num_rounds=99, target="accuracy >= 1", patience=1, eval_every=2, name="x", dir="y")},
        {"scaling": ScalingConfig(pool="local", agents_per_host=2, gpus_per_host=0.5)},
        {"failure": FailureConfig(min_agents=2)},
        {"checkpoint": CheckpointConfig(every=5)},
    ],
)
def test_what_may_change_when_a_run_goes_on(changed):
    before = experiment().resolved()
    assert changed_settings(before.to_plain(), replace(experiment(), **changed).resolved().to_plain()) == []


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ({"run": RunConfig(seed=3)}, ["run.seed: 0 -> 3"]),
        ({"run": RunConfig(agents_per_round=2)}, ["run.agents_per_round: 6 -> 2"]),
        ({"run": RunConfig(num_blocks=2)}, ["run.num_blocks: None -> 2"]),
        ({"exchange": Exchange(exclude=("*.bias",))}, ["exchange.exclude: [] -> ['*.bias']"]),
        (
            {"learners": (SGD(lr=0.5, momentum=0.9),)},
            [
                "agents.init_args.learners.0.init_args.lr: 0.1 -> 0.5",
                "agents.init_args.learners.0.init_args.momentum: 0.0 -> 0.9",
            ],
        ),
        ({"test": Digits("test", seed=1)}, ["test.init_args.seed: 0 -> 1"]),
        ({"chain": (Mean("uniform"),)}, ["chain.0.init_args.weights: 'examples' -> 'uniform'"]),
    ],
)
def test_what_decides_the_bits_may_not(changed, lines):
    assert changed_settings(experiment().resolved().to_plain(), experiment(**changed).resolved().to_plain()) == lines


def test_another_number_of_steps_is_a_change():
    (line,) = changed_settings(experiment().to_plain(), experiment(chain=(ClipNorm(1.0), Mean())).to_plain())
    assert line.startswith("chain: [")
    assert "raycollab.transforms.ClipNorm" in line


def test_a_setting_that_an_older_file_lacks_counts_as_its_absence():
    before, after = {"run": {"seed": 0}}, {"run": {"seed": 0, "extra": None}}
    assert changed_settings(before, after) == []
    assert changed_settings(before, {"run": {"seed": 0, "extra": 1}}) == ["run.extra: None -> 1"]


@pytest.mark.parametrize("word", ["all", "adapters"])
def test_words_for_what_is_exchanged(word):
    """In Python, in a file and on the command line; the file that a run writes spells them out."""
    made = experiment(exchange=word)
    assert made.exchange == Exchange.of(word)
