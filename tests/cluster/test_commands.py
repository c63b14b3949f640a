"""What cluster/ has people and nodes type is taken: by `ray`, and by `raycollab` with settings that there are."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from raycollab.cli import _parse
from raycollab.experiment_file import read_experiment

CLUSTER = Path(__file__).parents[2] / "cluster"
README = (CLUSTER / "README.md").read_text()


def lines():
    """Each line that is a command, of the README, the launchers, the manifests and the script for Slurm."""
    text = "\n".join(re.findall(r"^```\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    yield from text.splitlines()
    yield from re.findall(r"`((?:ray|raycollab) [^`|]*)`", README)
    for path in sorted((CLUSTER / "launcher").glob("*.yaml")):
        launcher = yaml.safe_load(path.read_text())
        yield from (*launcher["head_start_ray_commands"], *launcher["worker_start_ray_commands"])
    yield next(yaml.safe_load_all((CLUSTER / "kuberay" / "rayjob.yaml").read_text()))["spec"]["entrypoint"]
    yield (CLUSTER / "slurm.sh").read_text().replace("\\\n", " ").partition("exec ")[2].partition("\n'")[0]


def commands(text, program):
    """The words behind a program's name, for each time that it is called; what the shell does around it is left out."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word == "--" or set(word) <= set(lexer.punctuation_chars):
            if words[:1] == [program]:
                yield words[1:]
            words = []
        elif words or not re.fullmatch(r"\w+=.*", word):  # RAY_AUTH_MODE=token ray start
            words.append(word)


def options_of_ray(words):
    """Options of a command of Ray's that it does not take; those that are hidden from its help count."""
    from ray.scripts.scripts import cli  # costs a second

    command = cli.commands[words[0]]
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    if words[0] == "symmetric-run":  # hands the others on to `ray start`
        known |= {option for each in cli.commands["start"].params for option in each.opts}
    return {word.partition("=")[0] for word in words if word.startswith("--")} - known


def typed(program):
    """Each command once; a name alone, in a sentence, is no command."""
    return sorted({tuple(words) for line in lines() for words in commands(line, program) if len(words) > 1})


FOR_RAY, FOR_US = typed("ray"), typed("raycollab")


def test_there_are_commands_of_each_kind():
    assert {"start", "up", "down", "dashboard", "symmetric-run", "get-auth-token"} <= {w[0] for w in FOR_RAY}
    assert {"doctor", "run", "submit", "status", "logs", "stop", "resume"} <= {words[0] for words in FOR_US}


@pytest.mark.parametrize("words", FOR_RAY, ids=" ".join)
def test_ray_takes_it(words):
    assert options_of_ray(words) == set()


@pytest.mark.parametrize("words", FOR_US, ids=" ".join)
def test_raycollab_takes_it(words):
    _, overrides = _parse([word for word in words if word != "${@:2}"])
    read_experiment(None, overrides)


def test_what_is_not_taken_is_found():
    assert options_of_ray(["start", "--label=x", "--head"]) == {"--label"}
    with pytest.raises(SystemExit):
        _parse(["status", "--detached=1"])
