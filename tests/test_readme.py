"""The README tells the truth: its code runs, and its two forms of one experiment are equal."""

import re
from pathlib import Path

import pytest

from raycollab.experiment_file import parse_experiment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_program_is_the_quickstart():
    program = blocks("python")[0]
    assert program.strip() in (ROOT / "examples" / "quickstart.py").read_text()


def test_yaml_and_python_are_one_experiment():
    names: dict = {}
    exec(blocks("python")[1], names)
    assert parse_experiment(blocks("yaml")[0], "README").to_plain() == names["experiment"].to_plain()


def test_named_parties_parse():
    """The fragment with named parties is accepted in place of the simulated ones."""
    whole = re.sub(r"agents:.*?(?=chain:)", blocks("yaml")[1], blocks("yaml")[0], flags=re.DOTALL)
    assert [agent.name for agent in parse_experiment(whole, "README").members()] == ["north", "south"]


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([\w./]+)\)", README))
def test_links_lead_somewhere(path):
    assert (ROOT / path).exists()
