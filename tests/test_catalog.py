"""`raycollab rules` names everything that an experiment can name, and every rule says where it is from."""

import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

import raycollab as rc
from raycollab.aggregation import RowRule
from raycollab.attacks.base import Misbehaviour
from raycollab.catalog import ALL_KINDS, Rule, index, listing, page, rules
from raycollab.cli import main

from .contracts.rows import exported

KINDS = {
    "tasks": rc.Task,
    "models": rc.models.Model,
    "submodels": rc.models.SubModel,
    "fusions": rc.fusion.Fusion,
    "adapters": rc.models.Adapter,
    "augmentations": rc.tasks.Augmentation,
    "populations": rc.Population,
    "sources": rc.Source,
    "tokenizers": rc.data.Tokenizer,
    "distortions": rc.data.Distortion,
    "partitions": rc.Partition,
    "durations": rc.Durations,
    "schedules": rc.Schedule,
    "learners": rc.Learner,
    "aggregators": rc.Aggregator,
    "episodes": rc.Episodes,
    "detectors": rc.adapt.Detector,
    "actions": rc.adapt.Action,
    "growth": rc.growth.When,
    "at-test": rc.adapt.AtTest,
    "transforms": rc.Transform,
    "accountants": rc.privacy.Accountant,
    "codecs": rc.Codec,
    "modes": rc.Mode,
    "selections": rc.Selection,
    "attacks": Misbehaviour,
}
ONLY_IN_PYTHON = {rc.data.Arrays}
# some cite one
NO_PAPERS = {"tasks", "models", "populations", "sources", "tokenizers", "distortions", "partitions", "durations"}
NO_PAPERS |= {"schedules", "augmentations", "episodes", "growth"}
# On purpose: a library's optimizers, a factor, a count, a format of numbers, what everybody does; no paper to cite.
NO_SOURCE = {"BFloat16", "Concatenation", "ModalityCounts", "Optimizer", "PerGroup", "Reweight", "RoundRobin", "Scale"}
NO_SOURCE |= {"Sparse"}
each_rule = pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_exported_rule_is_listed(kind):
    assert {rule.form for rule in rules() if rule.kind == kind} == exported(KINDS[kind]) - ONLY_IN_PYTHON


def test_every_kind_is_tested_here():
    assert set(KINDS) == set(ALL_KINDS)


def test_the_listing_names_them_all():
    text = listing()
    assert [rule.name for rule in rules() if f"\n  {rule.name}(" not in text] == []
    assert max(map(len, text.splitlines())) <= 100


@each_rule
def test_every_rule_says_what_it_is_and_where_it_is_from(rule):
    assert len(rule.summary) >= len("Always 1.")
    assert "\n" not in rule.formula
    assert rule.kind in NO_PAPERS or bool(rule.source) != (rule.name in NO_SOURCE), (
        f"{rule.name}: give its docstring a `Source:` paragraph, or name it in NO_SOURCE"
    )


@pytest.mark.parametrize("width", [60, 100])
def test_the_index_has_a_line_for_each(width):
    lines = index(width).splitlines()
    listed = [line for line in lines if line.startswith("  ")]
    for rule, line in zip(rules(), listed, strict=True):
        assert line.startswith(f"  {rule.name} ")
        assert rule.summary.startswith(line.removeprefix(f"  {rule.name} ").removesuffix("...").strip())
        assert len(line) <= width
    assert [kind for kind in KINDS if not any(line.startswith(f"{kind.upper()}  ") for line in lines)] == []


@each_rule
def test_one_in_full(rule):
    text = page(rule.name)
    assert text.startswith(f"{rule.name}(")
    assert rule.text in text
    assert f"belongs in: {ALL_KINDS[rule.kind].place}" in text
    assert page(rule.name.upper()) == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_at_length(kind):
    text = page(kind)
    assert text == page(kind.upper())
    names = {rule.name for rule in rules() if rule.kind == kind}
    assert all((f"\n  {rule.name}(" in text) == (rule.name in names) for rule in rules())


def test_a_name_of_two_kinds():
    """Torchvision is a source and a model: the page holds both."""
    text = page("Torchvision")
    for form in (rc.data.Torchvision, rc.models.Torchvision):
        assert (form.__doc__ or "").partition("\n")[0] in text
    assert text.count("belongs in: ") == 2


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


def test_the_commands(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["rules"]) == 0
    assert capsys.readouterr().out == index(80) + "\n"
    assert main(["rules", "--all"]) == 0
    assert capsys.readouterr().out == listing() + "\n"
    assert main(["rules", "learners"]) == 0
    assert capsys.readouterr().out == listing(("learners",)) + "\n"
    assert main(["rules", "Median"]) == 0
    assert "delta_j = median_i delta_ij" in capsys.readouterr().out
    assert main(["rules", "Medain"]) == 2
    assert "there is no rule 'Medain'; did you mean 'Median'?" in capsys.readouterr().err
    assert main(["rules", "learner"]) == 2
    assert "did you mean 'learners'?" in capsys.readouterr().err


def test_a_rule_of_your_own(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "midrules.py").write_text(
        "import raycollab as rc\n"
        "class Midrange(rc.RowRule):\n"
        '    """Midpoint of the extremes."""\n\n'
        "    formula = '(min + max) / 2'\n"
    )
    assert main(["rules", "midrules.Midrange"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Midrange(")
    for words in ("Midpoint of the extremes.", "formula: (min + max) / 2", "memory: [k, d]", "belongs in: chain"):
        assert words in printed


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("norules.Midrange", "No module named 'norules'; run it where norules.py is found"),
        ("raycollab.Nothing", "raycollab.Nothing cannot be imported"),
        (
            "torch.nn.Linear",
            "torch.nn.Linear is nothing that an experiment can name: derive it from one of Task, Model",
        ),
    ],
)
def test_what_is_no_rule_of_your_own(name, words, capsys):
    assert main(["rules", name]) == 2
    assert words in capsys.readouterr().err


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


def test_a_page_holds_the_settings_that_a_class_takes_over():
    text = page("CSV")
    assert "delimiter: What stands between two values." in text
    assert "Settings in common with others of its kind:" in text
    assert "bad_rows:" in text
    assert "Settings in common" not in page("IID")
