"""What is looked at before the first trial: paths, data and metrics; and what can be tried."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import raycollab as rc
from raycollab.errors import ConfigError, DataError
from raycollab.experiment_file import read_experiment, to_yaml
from raycollab.sweeps import checks
from raycollab.sweeps.checks import checked
from raycollab.sweeps.trial import at

from .test_sweeps import HELD, experiment, settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"chain.2.gamma": {"choice": [1.0]}}}, r"Search.space\['chain.2.gamma'\]: 1.0 cannot be set there"),
        ({"space": {"chain.9.beta": {"choice": [1.0]}}}, r"Search.space\['chain.9.beta'\].*no such element"),
        ({"space": {"run.rounds": {"choice": [1]}}}, r"Search.space\['run.rounds'\]: 1 cannot be set there"),
        ({"space": {"run.num_rounds": {"uniform": [1.5, 2]}}}, r"1.5 cannot be set there"),
        ({"space": {"chain.2.beta": {"choice": [0.5, 2.0]}}}, r"2.0 cannot be set there: .*beta"),
        ({"space": {"chain.1": {"choice": [rc.Mean(by_agent={"nobody": 1.0})]}}}, r"there is no agent 'nobody'"),
        ({"space": {"scaling.pool": {"choice": ["ray"]}}}, r"all trials have scaling in common"),
        ({"space": {"run.seed scaling.pool": {"choice": [1]}}}, r"all trials have scaling in common"),
        ({"space": {"run.dir": {"choice": ["x"]}}}, r"all trials have run.dir in common"),
        ({"metric": "recall", "mode": "max"}, r"target metric 'recall' is not reported by this task; it reports"),
    ],
)
def test_what_does_not_fit_the_experiment(changes, message):
    with pytest.raises(ConfigError, match=message):
        checked(experiment(), settings(**changes))


def test_trials_that_are_never_compared():
    with pytest.raises(ConfigError, match=r"run.eval_every=5 leaves only the last of 2; lower it"):
        checked(experiment("--run.eval_every=5"), settings())
    checked(experiment("--run.eval_every=5"), settings(scheduler="none"))


def test_a_tracker_that_is_not_installed(monkeypatch):
    """Said before the first trial; where it is installed, or not asked for, nothing is said."""
    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == "mlflow" else name)
    with pytest.raises(ConfigError, match=r"Search.mlflow='runs': mlflow is not installed; run `pip install mlflow`"):
        checked(experiment(), settings(mlflow="runs"))
    checked(experiment(), settings())
    monkeypatch.setattr(checks, "find_spec", lambda name: name)
    checked(experiment(), settings(mlflow="runs"))


def test_validation_rows_of_the_test_set_are_refused():
    with pytest.raises(DataError, match=r"the validation set of the search: .*359 of its 359 rows"):
        checked(experiment(), settings(validation=rc.data.Digits("test")))


def test_what_stands_only_in_memory_is_refused():
    found = replace(experiment(), test=rc.data.Arrays(rc.data.Digits("test").read()))
    memory = rc.data.Arrays(rc.data.Digits("train").read())
    split = rc.Split(memory, rc.Dirichlet(0.3, num_parts=8), (rc.SGD(lr=0.1),))
    with pytest.raises(ConfigError, match=r"search: the experiment holds .*Arrays"):
        checked(replace(found, agents=split), settings())


def test_checked_trials_are_scored_on_the_validation_set():
    text, metric, mode = checked(experiment(), settings())
    assert at(text, {"chain.2.beta": 0.25}).test == HELD
    assert at(text, {"chain.2.beta": 0.25}).chain[2].beta == 0.25
    assert at(text, {"chain.1": json.dumps({"class_path": "Median"})}).chain[1] == rc.Median()
    assert (metric, mode) == ("accuracy", "max")


def test_several_paths_get_the_same_value():
    """A rate that both learns and judges is one setting; each path is checked."""
    name = "chain.2.beta agents.learners.1.momentum"
    text, _, _ = checked(experiment(), settings(space={name: {"uniform": [0.1, 0.9]}}))
    tried = at(text, {name: 0.25})
    assert (tried.chain[2].beta, tried.agents.learners[1].momentum) == (0.25, 0.25)
    with pytest.raises(ConfigError, match=r"learners.7: there is no such element"):
        checked(experiment(), settings(space={"chain.2.beta agents.learners.7.momentum": {"choice": [0.1]}}))


def test_weights_by_agent_are_a_space():
    """loguniform weights of all agents but one are the softmax of as many uniform logits; the winner names them."""
    base = replace(experiment(), chain=(rc.Mean(by_agent={"party-0": 1.0}),))
    names = [f"party-{place}" for place in range(1, 8)]
    space = {f"chain.0.by_agent.{name}": {"loguniform": [0.01, 100.0]} for name in names}
    text, _, _ = checked(base, settings(space=space))
    tried = at(text, dict.fromkeys(space, 0.5)).chain[0]
    assert tried == rc.Mean(by_agent={"party-0": 1.0, **dict.fromkeys(names, 0.5)})
    nobody = {"chain.0.by_agent.nobody": {"loguniform": [0.01, 100.0]}}
    with pytest.raises(ConfigError, match=r"Search.space\['chain.0.by_agent.nobody'\]: .*there is no agent 'nobody'"):
        checked(base, settings(space=nobody))


def test_weights_by_agent_and_group_are_a_space():
    """Each group of parameters has weights of its own; those of agents that are not there are refused."""
    halves = {"1*": rc.Mean(by_agent={"party-0": 1.0}), "*": rc.Mean(by_agent={"party-0": 1.0})}
    base = replace(experiment(), chain=(rc.PerGroup(halves),))
    logits = {"loguniform": [0.01, 100.0]}
    space = {f"chain.0.rules.{group}.by_agent.party-1": logits for group in halves}
    text, _, _ = checked(base, settings(space=space))
    tried = at(text, dict(zip(space, (0.5, 2.0), strict=True))).chain[0].rules
    assert [rule.by_agent["party-1"] for rule in tried.values()] == [0.5, 2.0]
    with pytest.raises(ConfigError, match=r"there is no agent 'nobody'"):
        checked(base, settings(space={"chain.0.rules.*.by_agent.nobody": logits}))


def test_ranks_fusions_and_temperatures_are_a_space():
    """However deep a setting stands: the rank of a LoRA, how modalities meet, a temperature over losses."""
    net = rc.models.Adapted(rc.models.MLP(64, 10), rc.models.LoRA(("1",), rank=4))
    adapted = replace(experiment(), task=rc.ImageClassification(net, num_classes=10))
    tried = at(to_yaml(adapted), {"task.net.adapter.rank": 2})
    assert tried.task == rc.ImageClassification(replace(net, adapter=replace(net.adapter, rank=2)), num_classes=10)
    two = rc.models.Multimodal({"image": rc.models.MLP(64, 8), "sound": rc.models.MLP(9, 8)}, rc.fusion.Gated(64), 10)
    both = replace(experiment(), task=rc.Multimodal(two, num_classes=10))
    other = json.dumps({"class_path": "Concatenation", "init_args": {"width": 32}})
    assert at(to_yaml(both), {"task.net.fusion": other}).task.net.fusion == rc.fusion.Concatenation(32)
    assert at(to_yaml(both), {"task.net.fusion.width": 16}).task.net.fusion == rc.fusion.Gated(16)
    tilted = replace(experiment(), chain=(rc.Tilted(1.0),))
    assert at(to_yaml(tilted), {"chain.0.tilt": 3.0}).chain == (rc.Tilted(3.0),)


def test_how_an_agent_meta_learns_is_a_space():
    """Inner rate, also by layer, steps, order and tasks a step of MAML, on the few-shot example; its checks hold."""
    few_shot = read_experiment(str(Path(__file__).parents[2] / "examples" / "few_shot.yaml"))
    learner = "agents.learners.0."
    space = {
        f"{learner}lr": {"loguniform": [0.03, 3.0]},
        f"{learner}steps": {"randint": [1, 6]},
        f"{learner}factors": {"choice": [{}, {"3.*": 0.1}]},
        f"{learner}order": {"choice": [1, 2]},
        f"{learner}episodes": {"choice": [4, 8, 16]},
    }
    text, _, _ = checked(few_shot, settings(space=space))
    tried = dict(zip(space, (0.1, 5, {"3.*": 0.1}, 1, 16), strict=True))
    (found,) = at(text, tried).agents.learners
    assert (found.lr, found.steps, found.order, found.episodes) == (0.1, 5, 1, 16)
    assert found.factors == {"3.*": 0.1}
    with pytest.raises(ConfigError, match=r"MAML.order=3: must be 1 or 2"):
        checked(few_shot, settings(space={f"{learner}order": {"choice": [3]}}))
