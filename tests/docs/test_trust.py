"""docs/trust.md names a test for each claim: the tests are there."""

import re
from pathlib import Path

import pytest

import raycollab as rc

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "trust.md").read_text()
CLAIMS = re.findall(r"^\| (?!claim)([^|]+) \| (`[^|]*::[^|]+) \|$", PAGE, re.MULTILINE)


def named():
    """File and test of every test that the page names; a name without a file is of the file before."""
    file, found = "", []
    for path, test in re.findall(r"`([\w/.]*)::(\w+)`", PAGE):
        file = path or file
        found.append((file, test))
    return found


def test_there_are_claims():
    assert len(CLAIMS) >= 30


@pytest.mark.parametrize("section", re.findall(r"^## (.+)$", PAGE, re.MULTILINE))
def test_every_section_names_a_test_or_where_figures_stand(section):
    """What is claimed is shown, also in a section that somebody adds; the first one says what the others show."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    assert section == "Who is who" or "`tests/" in text or "../benchmarks/" in text


@pytest.mark.parametrize(("file", "test"), sorted(set(named())))
def test_a_test_that_is_named_is_there(file, test):
    source = (ROOT / file).read_text()
    assert re.search(rf"^def {test}\(", source, re.MULTILINE), f"{file} has no {test}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/]+\.py)", PAGE))))
def test_the_files_are_there(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(\.\./([\w/.\-]+)", PAGE))))
def test_what_is_linked_is_there(link):
    assert (ROOT / link).exists()


class Fitted:
    """raycollab with a `fit` that takes down what it is given."""

    def __init__(self):
        self.given = []

    def __getattr__(self, name):
        return getattr(rc, name)

    def fit(self, agents, chain, *rest):
        self.given.append((agents, chain))


def test_the_program_with_noise_is_accepted():
    """Its settings are, and its budgets suffice for a round of 64 parties and of an agent with the digits."""
    program = re.search(r"## Differential privacy\n\n```python\n(.*?)```", PAGE, re.DOTALL).group(1)
    recorder, names = Fitted(), [f"party-{i}" for i in range(64)]
    scope = {"rc": recorder, "shard": rc.data.Digits("train"), "agents": names}
    exec(program, scope)
    agent, (private, shares) = scope["agent"], (chain for _, chain in recorder.given)
    agent.learner.budget.check_size(1438, "examples")
    private.check_agents(names, 64)
    scope["share"].check_agents(64, shares.aggregator.min_updates)
