"""Settings changed by path, through classes and elements of lists."""

from importlib import resources

import pytest

from raycollab.errors import ConfigError
from raycollab.experiment_file import read_experiment
from raycollab.overrides import overridden, split, standing
from raycollab.params import Exchange

PLAIN = {
    "agents": {"class_path": "Split", "init_args": {"learners": [{"class_path": "SGD", "init_args": {"lr": 0.1}}]}},
    "chain": ["Mean", {"class_path": "Momentum", "init_args": {"beta": 0.5}}],
    "run": {"seed": 1},
    "upload": None,
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("run.seed", 1),
        ("chain.1.beta", 0.5),
        ("chain.1.init_args.beta", 0.5),
        ("agents.learners.0.lr", 0.1),
        ("chain.0", "Mean"),
        ("chain.0.weights", None),
        ("run.name", None),
        ("upload.codec", None),
    ],
)
def test_what_stands_at_a_path(path, expected):
    assert standing(PLAIN, path) == expected


def test_no_such_element_at_a_path():
    with pytest.raises(ConfigError, match=r"chain.2: there is no such element; chain ends at chain.1"):
        standing(PLAIN, "chain.2.beta")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("--run.seed=2", {**PLAIN, "run": {"seed": 2}}),
        ("--run.name=x", {**PLAIN, "run": {"seed": 1, "name": "x"}}),
        ("--scaling.pool=local", {**PLAIN, "scaling": {"pool": "local"}}),
        ("--chain.1.beta=0.9", {**PLAIN, "chain": ["Mean", {"class_path": "Momentum", "init_args": {"beta": 0.9}}]}),
        ("--chain.1.init_args.beta=0.9", overridden(PLAIN, ["--chain.1.beta=0.9"])),
        ("--chain.1=Median", {**PLAIN, "chain": ["Mean", "Median"]}),
        (
            "--chain.0.weights=uniform",
            {**PLAIN, "chain": [{"class_path": "Mean", "init_args": {"weights": "uniform"}}, PLAIN["chain"][1]]},
        ),
        (
            "--agents.learners.0.lr=0.2",
            {
                **PLAIN,
                "agents": {
                    "class_path": "Split",
                    "init_args": {"learners": [{"class_path": "SGD", "init_args": {"lr": 0.2}}]},
                },
            },
        ),
    ],
)
def test_one_setting_changes(override, expected):
    before = repr(PLAIN)
    assert overridden(PLAIN, [override]) == expected
    assert repr(PLAIN) == before, "the argument is left alone"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--chain.2.beta=1", "on the command line: chain.2: there is no such element; chain ends at chain.1"),
        ("--chain.2=Mean", "on the command line: chain.2: there is no such element; chain ends at chain.1"),
        ("--chain.beta=1", "chain.beta: chain is a list; name an element of it, such as chain.0.beta"),
        ("--upload.0=1", r"upload.0: upload is not set, .* set the whole list: --upload='\[...\]'"),
        ("--run.seed.0=1", "run.seed.0: run.seed is 1, not a list"),
        ("--listed.lr=1", r"listed: init_args is \[1\], no mapping of settings: write {class_path: SGD, init_args: {"),
        ("--worded.lr=1", "worded: init_args is 'lr', no mapping of settings: write {class_path: SGD, init_args: {"),
    ],
)
def test_paths_that_lead_nowhere(override, message):
    listed, worded = ({"class_path": "SGD", "init_args": wrong} for wrong in ([1], "lr"))
    with pytest.raises(ConfigError, match=message):
        overridden({**PLAIN, "listed": listed, "worded": worded}, [override])


def test_a_key_that_is_a_number_in_the_file():
    plain = {"chain": [{"class_path": "Mean", "init_args": {"by_agent": {0: 1.0, "1": 2.0}}}], 3: {"a": 1}}
    (rule,) = overridden(plain, ["--chain.0.by_agent.0=5", "--chain.0.by_agent.1=6"])["chain"]
    assert rule["init_args"] == {"by_agent": {0: 5, "1": 6}}
    assert overridden(plain, ["--3.a=2"])[3] == {"a": 2}


def test_a_class_that_is_no_name_is_left_for_the_reader_to_refuse():
    wrong = {"class_path": 3}
    assert overridden({"chain": [wrong]}, ["--chain.0.f=1"]) == {"chain": [{**wrong, "init_args": {"f": 1}}]}
    assert overridden(wrong, ["--run.seed=1"]) == {**wrong, "run": {"seed": 1}}


def test_an_empty_list_has_no_elements():
    with pytest.raises(ConfigError, match=r"chain\.0: there is no such element; chain is empty"):
        overridden({"chain": []}, ["--chain.0=Mean"])


def test_only_what_goes_through_lists_is_taken_apart_and_what_sets_the_list():
    through, others = split(["--run.seed=2", "--chain=[Mean]", "--chain.0.weights=uniform", "--agents.partition=IID"])
    assert through == ["--chain=[Mean]", "--chain.0.weights=uniform"]
    assert others == ["--run.seed=2", "--agents.partition=IID"]
    assert split(["--chain=[Mean]"]) == ([], ["--chain=[Mean]"])


def test_an_experiment_is_read_with_them():
    """In their order: the whole list first, then an element of it."""
    made = read_experiment(None, ["--agents.learners.1.lr=1e-3", "--task.net.hidden.0=16", "--chain.0.max_norm=3"])
    assert made.agents.learners[1].lr == 1e-3
    assert made.task.net.hidden == (16,)
    assert made.chain[0].max_norm == 3
    whole = "--chain=[{class_path: ClipNorm, init_args: {max_norm: 1}}, Mean]"
    assert read_experiment(None, [whole, "--chain.0.max_norm=7"]).chain[0].max_norm == 7
    assert read_experiment(None, ["--chain.0.max_norm=7", whole]).chain[0].max_norm == 1
    with pytest.raises(ConfigError, match=r"on the command line: unknown key 'f' of chain.1 \(Mean\)"):
        read_experiment(None, ["--chain.1.f=2"])


@pytest.mark.parametrize("word", ["all", "adapters"])
def test_a_word_for_what_is_exchanged(word, tmp_path):
    """In the file and on the command line, where it stands above the file's."""
    path = tmp_path / "my.yaml"
    path.write_text(resources.files("raycollab").joinpath("digits.yaml").read_text() + f"\nexchange: {word}\n")
    assert read_experiment(str(path)).exchange == Exchange.of(word)
    path.write_text(path.read_text().replace(f"exchange: {word}", "exchange: {exclude: ['3.*']}"))
    assert read_experiment(str(path), [f"--exchange={word}"]).exchange == Exchange.of(word)
