"""Agents that hold a part of the common net: what becomes of their task, in Python, in a file and in simulations."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.errors import ConfigError, DataError, ModelError, TaskMismatchError
from raycollab.experiment_file import parse_experiment, read_agent, to_yaml
from raycollab.models import CNN, GPT, MLP, EarlyExits, Narrowed, UpTo, Width
from raycollab.own_part import OwnPart
from raycollab.parts import with_parts

from .contracts.support import DIGITS, TEST, Training, digits, train

SLICES = rc.Exchange(slices=True)
SOURCE = rc.data.Digits("train")
LOCAL = rc.ScalingConfig(pool="local")


def agent(holds, name="phone", **settings):
    return rc.Agent(name, SOURCE, rc.SGD(lr=0.1), holds=holds, **settings)


def test_what_it_holds_becomes_its_own_task():
    (found,) = with_parts([agent(Width(0.25))], DIGITS, SLICES)
    assert found == agent(None, task=replace(DIGITS, net=Narrowed(DIGITS.net, 0.25)))
    own = replace(DIGITS, net=CNN(10, size=8))
    (found,) = with_parts([agent(Width(0.25), task=own)], DIGITS, SLICES)
    assert found.task.net == Narrowed(own.net, 0.25)
    assert with_parts([agent(None)], DIGITS, rc.Exchange()) == [agent(None)]


@pytest.mark.parametrize(
    ("holds", "task", "exchange", "error", "message"),
    [
        (
            Width(0.5), DIGITS, rc.Exchange(), ConfigError,
            r"agent 'phone' holds parts of tensors, Width\(width=0.5, .*\): set exchange=Exchange\(slices=True\)",
        ),
        (Width(0.5), rc.CausalLM(GPT(9), 9), SLICES, ModelError, "agent 'phone': GPT has no narrower nets inside"),
        (UpTo("3"), DIGITS, SLICES, ModelError, r"agent 'phone': UpTo\('3'\): MLP has no exits"),
        (
            UpTo("3"), replace(DIGITS, net=EarlyExits(MLP(64, 10), ("2",))), SLICES, ConfigError,
            "agent 'phone': EarlyExits.upto='3': must be one of the exits: 2",
        ),
    ],
)  # fmt: skip
def test_refuses(holds, task, exchange, error, message):
    with pytest.raises(error, match=message):
        with_parts([agent(holds)], task, exchange)


def test_an_agent_holds_a_part_or_all():
    with pytest.raises(
        ConfigError, match=r"Agent\('phone'\).holds=0.5: must be a part of a net such as rc.models.Width"
    ):
        agent(0.5)


def three(**settings):
    """Agents of three capacities, each twice."""
    shards = SOURCE.split(rc.Dirichlet(0.5, num_parts=6))
    held = (None, Width(0.5), Width(0.25)) * 2
    agents = [replace(agent(part, f"agent-{i}"), shard=shards[i]) for i, part in enumerate(held)]
    return rc.Experiment(DIGITS, rc.Parties(tuple(agents)), (rc.Mean(),), TEST, exchange=SLICES, **settings)


def test_the_program_of_three_capacities(tmp_path):
    run = rc.RunConfig(num_rounds=3, dir=str(tmp_path))
    members = three().agents.members
    result = rc.fit(members, rc.Mean(), task=DIGITS, test=TEST, exchange=SLICES, scaling=LOCAL, run=run)
    assert [row["failure"] for row in result.agents] == [""] * 18
    sent = {row["agent"]: row["bytes_sent"] // 4 for row in result.agents}
    assert [sent[f"agent-{i}"] for i in range(3)] == [65 * h + 10 * h + 10 for h in (16, 8, 4)]
    whole = rc.load(result.path).module.state_dict()
    for name, hidden in (("agent-1", 8), ("agent-5", 4)):
        part = rc.load(result.path, agent=name)
        assert torch.equal(part.module[1].weight, whole["1.weight"][:hidden])
        assert torch.equal(part.module[3].weight, whole["3.weight"][:, :hidden])
        assert (
            part.evaluate(TEST).compute()["accuracy"]
            == result.model().part(Width(hidden / 16)).evaluate(TEST).compute()["accuracy"]
        )


FILE = """
task: {class_path: ImageClassification, init_args: {net: {class_path: MLP, init_args: {num_features: 64,
  num_outputs: 10, hidden: [16]}}, num_classes: 10}}
exchange: {slices: true}
chain: [{class_path: Mean}]
test: {class_path: Digits, init_args: {part: test}}
run: {num_rounds: 2}
agents:
"""
MEMBER = """name: phone
shard: {class_path: Digits, init_args: {part: train}}
learner: {class_path: SGD}
holds: {class_path: Width, init_args: {width: 0.25}}
"""


def test_an_experiment_in_a_file():
    indented = MEMBER.strip().replace("\n", "\n      ")
    text = f"{FILE}  class_path: Parties\n  init_args:\n    members:\n    - {indented}\n"
    (found,) = parse_experiment(text, "my.yaml").members()
    assert found.task.net == Narrowed(MLP(64, 10, (16,)), 0.25)


def test_a_simulated_population_in_a_file():
    text = (
        FILE
        + """
  class_path: Split
  init_args:
    source: {class_path: Digits, init_args: {part: train}}
    partition: {class_path: IID, init_args: {num_parts: 5}}
    learners: [{class_path: SGD}]
    holds: [null, {class_path: Width, init_args: {width: 0.5}}, {class_path: Width, init_args: {width: 0.25}}]
"""
    )
    members = parse_experiment(text, "my.yaml").members()
    assert [each.task.net.width if each.task else 1.0 for each in members] == [1.0, 0.5, 0.25, 1.0, 0.5]


def test_an_agent_that_joins_from_a_file(tmp_path):
    """What it holds is a part of the run's net, not of the file's."""
    (tmp_path / "phone.yaml").write_text(MEMBER)
    joining = read_agent(str(tmp_path / "phone.yaml"))
    assert joining.holds == Width(0.25)
    done = Training(digits(exchange=SLICES, rounds=3)).steps(1)
    done.driver.add_agent(joining)
    done.finish()
    assert {row.agent: row.num_bytes for row in done.reports[-1].agents}["phone"] == 4 * (65 * 4 + 10 * 4 + 10)
    with pytest.raises(ConfigError, match="agent 'other' holds parts of tensors"):
        Training(digits()).driver.add_agent(replace(joining, name="other"))


def test_models_of_simulated_parties_and_of_those_that_learn_alone(tmp_path):
    population = rc.Split(SOURCE, rc.IID(3), (rc.SGD(lr=0.1),), holds=(None, Width(0.5)))
    experiment = rc.Experiment(
        DIGITS, population, (rc.Mean(),), TEST, exchange=SLICES, scaling=LOCAL,
        run=rc.RunConfig(num_rounds=2, dir=str(tmp_path)),
    )  # fmt: skip
    together, alone = rc.run_experiment(experiment), rc.run_experiment(rc.local_only(experiment))
    assert rc.load(together.path, agent="party-1").module[1].weight.shape == (8, 64)
    own = rc.load(alone.path, agent="party-1").module
    assert own[1].weight.shape == (8, 64)
    assert not torch.equal(own[1].weight, rc.load(together.path).module[1].weight[:8])


def test_what_is_loaded_is_what_the_agent_holds_also_once_others_have_left():
    population = rc.Split(SOURCE, rc.IID(4), (rc.SGD(lr=0.1),), holds=(None, Width(0.5)))
    run = rc.RunConfig(num_rounds=2)
    made = rc.Experiment(DIGITS, population, (rc.Mean(),), TEST, exchange=SLICES, run=run)
    training = Training(made)
    training.driver.remove_agent("party-0")
    training.finish().driver.close()
    for name, text in (("experiment.yaml", to_yaml(made)), ("result.json", '{"rounds": 2}')):
        training.folder.storage.write_bytes(name, text.encode())
    held = {name: OwnPart.read(training.folder.path, name).recipe.get("holds") for name in ("party-1", "party-2")}
    assert held["party-2"] is None
    assert held["party-1"]["init_args"]["width"] == 0.5


def test_a_wider_net_than_the_drivers_is_refused():
    wide = replace(DIGITS, net=MLP(64, 10, hidden=(32,)))
    experiment = three()
    members = (*experiment.agents.members, agent(None, "wide", task=wide))
    with pytest.raises(
        TaskMismatchError, match=r"wide: .* no exchanged 1.bias, 1.weight, 3.weight of the approved shape"
    ):
        Training(replace(experiment, agents=rc.Parties(members)))


@pytest.mark.parametrize("rule", [rc.Median(), rc.Krum(f=1), rc.TrimmedMean(0.2), rc.SecureSum(rc.Mean("uniform"))])
def test_rules_over_whole_vectors_and_under_masks_refuse_parts(rule):
    with pytest.raises(DataError, match=r"4 of 6 agents could not start:\n  agent-1: .*(only a part|whole vectors)"):
        Training(replace(three(), chain=(rule,)))


def test_a_private_head_is_narrow_too():
    done = train(replace(three(), exchange=rc.Exchange(exclude=("3.*",), slices=True), run=rc.RunConfig(num_rounds=2)))
    heads = [done.remembered(f"agent-{i}")["private"]["3.weight"].shape for i in range(3)]
    assert heads == [(10, 16), (10, 8), (10, 4)]
