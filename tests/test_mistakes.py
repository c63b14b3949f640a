"""Each mistake in a file, and what a newcomer reads about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import yaml

from raycollab.errors import ConfigError
from raycollab.experiment import Experiment
from raycollab.experiment_file import parse_experiment, read_experiment
from raycollab.mistakes import mistake


def step(name, **arguments):
    return {"class_path": name, "init_args": arguments}


GOOD = {
    "task": step("ImageClassification", net=step("MLP", num_features=64, num_outputs=10), num_classes=10),
    "agents": step("Split", source="Digits", partition=step("IID", num_parts=4), learners=[step("SGD", lr="1e-3")]),
    "chain": [step("ClipNorm", max_norm=1), "Mean", step("Scale", schedule=step("Cosine", length=8))],
    "test": step("Parquet", path="x", normalize={"image": [[0.1], [0.3]]}, scale=None),
    "mode": step("Buffered", size=2, durations=step("PerAgent", by_agent={"a": 1})),
    "upload": None,
    "broadcast": "Quantize",
    "run": {"num_rounds": 2, "target": "accuracy > 0.9"},
}


def test_nothing_is_wrong_with_what_is_right():
    assert mistake(GOOD, Experiment) is None
    assert mistake(read_experiment().to_plain(), Experiment) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"upload": "Quantise"}, ["upload: there is no Codec 'Quantise'; did you mean 'Quantize'?", "BFloat16"]),
        ({"upload": step("TopK", share=0.1)}, ["TopK is a Transform, which belongs in chain; upload takes Codec"]),
        ({"upload": step("Mean")}, ["upload: Mean is an Aggregator, which belongs in chain; upload takes Codec"]),
        ({"broadcast": step("Quantize", bit=4)}, ["unknown key 'bit' of broadcast (Quantize); did you mean 'bits'?"]),
        ({"upload": 8}, ["upload: expected a Codec such as {class_path: BFloat16} or null, not 8"]),
        ({"upload": {"bits": 8}}, ["upload: expected a Codec such as", "not {bits: 8}"]),
        (
            {"chain": [step("Mean", by_agent=[1, 2])]},
            ["chain.0.by_agent: expected a mapping of agent to number or null, not [1, 2] (by_agent: Given weights by"],
        ),
        ({"chain": [step("Mean", by_agent={"a": "x"})]}, ["chain.0.by_agent.a: expected a number, not 'x'"]),
        (
            {"chain": [step("Sparse")]},
            ["chain.0: Sparse is a Codec, which belongs in upload or broadcast; chain takes Aggregator and Transform"],
        ),
        ({"chain": step("Mean")}, ["chain: expected a list [Aggregator or Transform, ...], not {class_path: Mean"]),
        ({"select": "Quantize"}, ["select: Quantize is a Codec, which belongs in", "; select takes Selection"]),
        ({"mode": "Async"}, ["mode: there is no Mode 'Async'; accepted classes: Buffered, Cyclic, SemiSynchronous"]),
        ({"mode": step("Cyclic", power=1)}, ["unknown key 'power' of mode (Cyclic); it takes no settings"]),
        ({"chain": ["Adam"]}, ["chain.0: ", "write {class_path: ServerOptimizer, init_args: {name: Adam}}"]),
        (
            {"chain": [{"class_path": "Momentum", "beta": 0.5}]},
            [
                "chain.0: unknown key 'beta' beside class_path; settings belong under init_args: "
                "{class_path: Momentum, init_args: {beta: 0.5}}"
            ],
        ),
        ({"chain": [step("ClipNorm")]}, ["chain.0 (ClipNorm) needs 'max_norm' (Largest norm, > 0)"]),
        ({"chain": ["torch.nn.Linear"]}, ["torch.nn.Linear is nothing that an experiment can name; chain takes"]),
        ({"chain": ["raycollab.Nothing"]}, ["chain.0: raycollab.Nothing cannot be imported"]),
        (
            {"chain": ["myrules.Midrange"]},
            [
                "chain.0: myrules.Midrange cannot be imported: No module named 'myrules'; run it where myrules.py is "
                "found, e.g. `PYTHONPATH=. raycollab run ...`"
            ],
        ),
        ({"chain": ["my.rules.Midrange"]}, ["run it where the folder my/ is found"]),
        (
            {"test": step("Parquet", path="x", normalize={"image": [0.1307, 0.3081]})},
            [
                "test.normalize.image: expected a list [[number, ...], [number, ...]], not [0.1307, 0.3081]",
                "(normalize: Mean and standard deviation of each channel",
            ],
        ),
        ({"run": {"num_rounds": "many"}}, ["run.num_rounds: expected an integer, not 'many' (num_rounds: Rounds at"]),
        ({"run": {"num_rounds": True}}, ["run.num_rounds: expected an integer, not true"]),
        ({"run": {"nam": "x"}}, ["unknown key 'nam' of run; did you mean 'name'? accepted keys: name, dir"]),
        ({"run": 5}, ["run: expected a RunConfig, not 5"]),
        ({"tests": 1}, ["unknown key 'tests'; did you mean 'test'?"]),
    ],
)
def test_what_is_wrong(changes, expected):
    found = mistake({**GOOD, **changes}, Experiment)
    for words in expected:
        assert words in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("learner", "words"),
    [
        ("AdamW", "agents.learners.0: there is no Learner 'AdamW'; write {class_path: Optimizer, init_args: {name: A"),
        ("Adamw", "{class_path: Optimizer, init_args: {name: AdamW}}"),
        ("Momentum", "Momentum is a Transform, which belongs in chain; learners takes Learner"),
        ("SDG", "did you mean 'SGD'?"),
        ("Learner", "Learner is abstract: name a class that derives from it; `raycollab rules` lists all classes"),
        ({"class_path": "SGD", "lr": 0.1}, "settings belong under init_args: {class_path: SGD, init_args: {lr: 0.1}}"),
        (step("Prox", learner=step("Krum", f=1)), "learners.0.learner: Krum is an Aggregator"),
    ],
)
def test_what_is_wrong_with_a_learner(learner, words):
    agents = {**GOOD["agents"]["init_args"], "learners": [learner]}
    assert words in mistake({**GOOD, "agents": step("Split", **agents)}, Experiment)


def test_an_agent_that_lacks_something():
    members = [{"name": "a", "shard": "Digits"}]
    found = mistake({**GOOD, "agents": step("Parties", members=members)}, Experiment)
    assert found == "agents.members.0 needs 'learner' (How it learns)"


@dataclass
class Loose:
    """Takes what has no type of its own."""

    first: "Unknown"  # noqa: F821 - on purpose
    second: object = None


@dataclass
class Listed:
    """Lists of all kinds."""

    sizes: list[int]
    pair: tuple[int, float] = (1, 0.5)
    alone: tuple[int] = (1,)
    named: Sequence[str] = ()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"sizes": []}, None),
        ({"sizes": [1, 2, 3], "pair": [1, 0.5], "alone": [1], "named": ["a", "b"]}, None),
        ({"sizes": [1, "a"]}, "sizes.1: expected an integer, not 'a'"),
        ({"sizes": 3}, "sizes: expected a list [integer, ...], not 3"),
        ({"sizes": [1], "alone": [1, 2]}, "alone: expected a list [integer], not [1, 2]"),
        ({"sizes": [1], "pair": [1]}, "pair: expected a list [integer, number], not [1]"),
        ({"sizes": [1], "named": [[]]}, "named.0: expected text, not []"),
    ],
)
def test_only_a_tuple_has_a_length(arguments, expected):
    assert mistake(arguments, Listed) == expected


@pytest.mark.parametrize("name", ["LBFGS", "SparseAdam"])
def test_an_optimizer_that_is_refused_is_not_advised(name):
    agents = {**GOOD["agents"]["init_args"], "learners": [name]}
    assert "write {class_path: Optimizer" not in mistake({**GOOD, "agents": step("Split", **agents)}, Experiment)


@pytest.mark.parametrize(("name", "advised"), [("Adam", True), ("Muon", False), ("Adafactor", False)])
def test_an_optimizer_by_shape_is_not_advised_for_the_driver(name, advised):
    found = mistake({**GOOD, "chain": ["Mean", name]}, Experiment)
    assert (f"write {{class_path: ServerOptimizer, init_args: {{name: {name}}}}}" in found) == advised


def test_what_cannot_be_judged_is_left_alone():
    assert mistake({"first": 1, "second": [2]}, Loose) is None
    assert mistake({}, Loose) == "Loose needs 'first'"


@pytest.mark.parametrize("override", ["--upload={class_path: Quantize, init_args: {bits: 5}}", "--broadcast.bits=5"])
def test_a_value_that_the_class_of_an_optional_setting_refuses(override):
    """It is accepted by its type, so only making the class finds out."""
    with pytest.raises(ConfigError, match=r"^Quantize.bits=5: must be 8 or 4$"):
        read_experiment(None, ["--broadcast=Quantize", override])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"chain": [step("Mean", by_agent={7: 1.0})]},
            "Mean.by_agent: the name 7 is no text; write it in quotes, as '7'",
        ),
        ({"select": step("ByWeight", weights={7: 1.0})}, "ByWeight.weights: the name 7 is no text"),
        (
            {"mode": step("Buffered", size=2, durations=step("PerAgent", by_agent={7: 1.0}))},
            "PerAgent.by_agent: the name 7 is no text",
        ),
    ],
)
def test_a_name_that_yaml_reads_as_a_number(changes, message):
    plain = {**read_experiment().to_plain(), **changes}
    with pytest.raises(ConfigError, match=message):
        parse_experiment(yaml.safe_dump(plain), "my.yaml")
