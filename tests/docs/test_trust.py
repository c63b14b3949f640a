"""docs/trust.md names a test for each claim: the tests are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "trust.md").read_text()
CLAIMS = re.findall(r"^\| (?!claim)([^|]+) \| (`[^|]*::[^|]+) \|$", PAGE, re.MULTILINE)


def named(text, before):
    """Files and tests in a cell; a name without a file is of the file before."""
    found = []
    for file, test in re.findall(r"`([\w/.]*)::(\w+)`", text):
        before = file or before
        found.append((before, test))
    return found, before


def claimed():
    file, found = "", []
    for claim, text in CLAIMS:
        here, file = named(text, file)
        found += [(claim, *each) for each in here]
    return found


def test_there_are_claims():
    assert len(CLAIMS) >= 8


@pytest.mark.parametrize(("claim", "file", "test"), claimed())
def test_a_claim_has_its_test(claim, file, test):
    source = (ROOT / file).read_text()
    assert re.search(rf"^def {test}\(", source, re.MULTILINE), f"{claim}: {file} has no {test}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/]+\.py)", PAGE))))
def test_the_files_are_there(path):
    assert (ROOT / path).exists()
