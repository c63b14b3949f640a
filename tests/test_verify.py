"""The same experiment on several hosts: what is compared, and what a rule that depends on them looks like."""

import pytest

import raycollab as rc
from raycollab import verify
from raycollab.checkpoint import RunFolder
from raycollab.cli import main
from raycollab.runtime.pool import LocalPool

LOCAL = ("scaling.pool=local",)


def test_as_many_hosts_as_there_are_blocks(digits):
    told = []
    outcomes = verify.verify(digits(*LOCAL), told=told.append)
    assert [(each.num_hosts, each.rounds) for each in outcomes] == [(1, 2), (2, 2), (4, 2)]
    assert len({each.digest for each in outcomes}) == 1
    assert told == outcomes
    assert [each.num_hosts for each in verify.verify(digits(*LOCAL, "run.num_blocks=1"))] == [1]


def test_a_digest_is_that_of_the_newest_vectors(digits):
    """Other bits, another digest; fewer rounds as well."""
    runs = [
        rc.run_experiment(digits(*LOCAL, f"run.name=r{i}", *settings))
        for i, settings in enumerate([(), (), ("run.seed=1",), ("run.num_rounds=1",)])
    ]
    first, again, seed, shorter = (verify.digest(RunFolder.open(run.path)) for run in runs)
    assert first == again
    assert len({first, seed, shorter}) == 3


@pytest.mark.parametrize(("broken", "code", "last"), [(False, 0, "the same bits"), (True, 1, "DIFFERENT BITS")])
def test_the_command_prints_a_table(capsys, monkeypatch, broken, code, last):
    """With a pool whose results depend on the number of its hosts beside the one that is as it should be."""
    run = LocalPool.run

    def moved(self, round, assignments, **settings):
        got = run(self, round, assignments, **settings)
        got.total.vectors["delta"][None].vector += 1e-3 * len(self._hosts)
        return got

    if broken:
        monkeypatch.setattr(LocalPool, "run", moved)
    arguments = ["--scaling.pool=local", "--run.num_rounds=1", "--run.target=null"]
    assert main(["verify", *arguments]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "hosts  rounds  seconds  sha256 of the committed vectors"
    assert [line.split()[:2] for line in lines[1:4]] == [["1", "1"], ["2", "1"], ["4", "1"]]
    assert lines[4] == last


def test_exact_means_do_not_depend_on_blocks_either(digits):
    """And float means do."""

    def digest(rule, blocks):
        name = f"{type(rule).__name__}-{rule.exact}-{blocks}"
        made = digits(*LOCAL, f"run.num_blocks={blocks}", f"run.name={name}")
        result = rc.run_experiment(
            rc.Experiment(made.task, made.agents, (rule,), made.test, run=made.run, scaling=made.scaling)
        )
        return verify.digest(RunFolder.open(result.path))

    assert len({digest(rc.Mean(exact=True), blocks) for blocks in (1, 3, 8)}) == 1
    assert len({digest(rc.Mean(), blocks) for blocks in (1, 3, 8)}) > 1
