"""`raycollab rules` names every exported rule, and every rule says where it is from."""

import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

import raycollab as rc
from raycollab.aggregation import RowRule
from raycollab.attacks.base import Misbehaviour
from raycollab.catalog import Rule, full, listing, rules
from raycollab.cli import main

from .contracts.rows import exported

KINDS = {
    "learners": rc.Learner,
    "aggregators": rc.Aggregator,
    "transforms": rc.Transform,
    "codecs": rc.Codec,
    "modes": rc.Mode,
    "selections": rc.Selection,
    "attacks": Misbehaviour,
}
# On purpose: a library's optimizers, a factor, a format of numbers, what everybody does; there is no paper to cite.
NO_SOURCE = {"BFloat16", "Optimizer", "PerGroup", "RoundRobin", "Scale", "Sparse", "Synchronous"}
each_rule = pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_exported_rule_is_listed(kind):
    assert {rule.form for rule in rules() if rule.kind == kind} == exported(KINDS[kind])


def test_the_listing_names_them_all():
    text = listing()
    assert [rule.name for rule in rules() if f"\n  {rule.name}(" not in text] == []
    assert max(map(len, text.splitlines())) <= 100


@each_rule
def test_every_rule_says_what_it_is_and_where_it_is_from(rule):
    assert len(rule.summary) > 10
    assert "\n" not in rule.formula
    assert bool(rule.source) != (rule.name in NO_SOURCE), (
        f"{rule.name}: give its docstring a `Source:` paragraph, or name it in NO_SOURCE"
    )


@each_rule
def test_one_in_full(rule):
    text = full(rule.name)
    assert text.startswith(f"{rule.name}(")
    assert rule.text in text
    assert full(rule.name.upper()) == text


@dataclass(frozen=True)
class Midrange(RowRule):
    """Midpoint of the smallest and the largest. Nothing else.

    Args:
        share: Of what.
    Source: Somebody et al., 2020,
        equation 3; here without a bias.
    """

    share: float
    names: tuple[str, ...] = ("a",)

    formula = "(min + max) / 2"

    def update(self, total, state, params, *, seed):
        raise NotImplementedError


def test_what_is_read_off_a_rule():
    rule = Rule("aggregators", "Midrange", Midrange)
    assert rule.summary == "Midpoint of the smallest and the largest."
    assert rule.formula == "(min + max) / 2"
    assert rule.source == "Somebody et al., 2020, equation 3; here without a bias."
    assert rule.arguments == ("share", "names=('a',)", "chunk_bytes=16777216")
    assert rule.memory == "[k, d]"
    assert Rule("aggregators", "Mean", rc.Mean).memory == "[d]"
    assert Rule("learners", "SGD", rc.SGD).memory == ""


def test_the_commands(capsys):
    assert main(["rules"]) == 0
    assert capsys.readouterr().out == listing() + "\n"
    assert main(["rules", "Median"]) == 0
    assert "delta_j = median_i delta_ij" in capsys.readouterr().out
    assert main(["rules", "Medain"]) == 2
    assert "there is no rule 'Medain'; did you mean 'Median'?" in capsys.readouterr().err


def test_help_is_fast_and_imports_nothing_heavy():
    """Fastest of three: the machine may be busy."""
    code = "import sys; from raycollab.cli import main\ntry: main(['rules', '--help'])\nfinally: print(*sys.modules)"
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1
    assert not {"torch", "ray", "numpy", "rich", "yaml"} & set(done.stdout.split())
