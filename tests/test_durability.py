"""Checkpoints in the background: what is on disk when, and what a full disk does to a run."""

import threading

import pytest
import torch

from raycollab.config import CheckpointConfig, RunConfig
from raycollab.errors import RunFolderError
from raycollab.learners import SGD
from raycollab.spec import PARAMS
from raycollab.storage import Storage

from .driver.support import Scripted, experiment, local, scripted

FULL = "[Errno 28] No space left on device"


@pytest.fixture
def disk(monkeypatch):
    """Fails every write of these kinds of files, or waits for a gate before it writes them."""

    class Disk:
        full: tuple[str, ...] = ()
        gate = threading.Event()
        waits: tuple[str, ...] = ()
        waiting = threading.Event()

    write, append = Storage.write_bytes, Storage.append_line

    def failing(self, path, data):
        if any(word in self.child(path).uri for word in Disk.waits):
            Disk.waiting.set()
            assert Disk.gate.wait(30)
        if any(word in self.child(path).uri for word in Disk.full):
            raise RunFolderError(f"cannot write {self.child(path)}: {FULL}; free some disk space")
        write(self, path, data)

    def failing_append(self, path, text):
        if any(word in path for word in Disk.full):
            raise RunFolderError(f"cannot append to {self.child(path)}: {FULL}; free some disk space")
        append(self, path, text)

    monkeypatch.setattr(Storage, "write_bytes", failing)
    monkeypatch.setattr(Storage, "append_line", failing_append)
    Disk.full, Disk.waits = (), ()
    Disk.gate, Disk.waiting = threading.Event(), threading.Event()
    yield Disk
    Disk.gate.set()


def kept(driver):
    return [int(name) for name in driver.folder.storage.list_dirs("checkpoints") if name.isdigit()]


def test_rounds_go_on_while_a_checkpoint_is_written(tmp_path, disk):
    """Round 3 is run while that of round 2 is at the gate, which holds the vectors of round 2 in the end."""
    disk.waits = ("000002/state.json",)
    driver = scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=9), checkpoint=CheckpointConfig(every=2))
    rounds = driver.rounds()
    next(rounds)
    next(rounds)
    second = driver.vectors[PARAMS].clone()
    assert disk.waiting.wait(30)
    assert next(rounds).index == 3
    assert driver.durable is None
    disk.gate.set()
    assert next(rounds).index == 4  # its checkpoint is begun once that of round 2 is there
    assert driver.durable == 2
    driver.close()
    assert kept(driver) == [2, 4]
    assert torch.equal(driver.folder.load_checkpoint(2)["vectors"]["2"][PARAMS], second)


def test_a_full_disk_is_said_loudly_and_the_run_goes_on(tmp_path, disk):
    """Checkpoints 2 and 3 fail, at the driver's file; the one of round 1 stays, and that of round 4 is written."""
    driver = scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=9))
    assert driver.step().notes == ()
    disk.full = ("state.safetensors",)
    second, third = driver.step(), driver.step()
    for index, report in ((2, second), (3, third)):
        assert report.notes[-1].startswith(f"CHECKPOINT NOT WRITTEN: round {index}: cannot write ")
        assert report.notes[-1].endswith(
            f"{FULL}; free some disk space; the one of round 1 is kept, and the run goes on"
        )
    assert kept(driver) == [1]
    assert not list((tmp_path / "runs").rglob(".tmp-*"))  # what it had written is gone
    disk.full = ()
    assert driver.step().notes == ()
    assert kept(driver) == [1, 4]


def test_an_agent_whose_disk_is_full(tmp_path, disk):
    """Its state cannot be stored: no half checkpoint comes of it."""
    made = experiment(learners=(SGD(momentum=0.9, keep_momentum=True),) * 3)
    driver = local(tmp_path / "run", made)
    driver.start()
    disk.full = ("agents/b.safetensors",)
    assert driver.step().notes[-1].endswith("there is none yet, and the run goes on")
    assert kept(driver) == []
    disk.full = ()
    driver.step()
    assert kept(driver) == [2]


def test_a_journal_that_cannot_be_written_is_written_later(tmp_path, disk):
    driver = scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=9))
    disk.full = ("journal",)
    notes = [driver.step().notes[-1] for _ in range(2)]
    assert notes[1].startswith("JOURNAL NOT WRITTEN: 2 rounds wait: cannot append to ")
    assert driver.folder.rows() == []
    assert kept(driver) == []  # a checkpoint ahead of the journal would lose its rows
    disk.full = ()
    driver.step()
    assert [row["round"] for row in driver.folder.rows()] == [1, 2, 3]


def test_a_run_that_ends_on_a_full_disk_says_that_its_end_is_not_kept(tmp_path, disk):
    driver = scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=2))
    driver.step()
    disk.full = ("state.safetensors",)
    assert [report.index for report in driver.rounds()] == [2]
    with pytest.raises(RunFolderError, match=r"CHECKPOINT NOT WRITTEN: round 2: .*the one of round 1 is kept"):
        driver.close()
    disk.full = ()
    driver.close()
    assert kept(driver) == [1, 2]


def test_by_the_clock(tmp_path, monkeypatch):
    """Every ten seconds, with rounds of four: rounds 3 and 6 of 7, and the last one."""
    now = [0.0]
    monkeypatch.setattr("raycollab.durability.time.monotonic", lambda: now[0])
    config = CheckpointConfig(every=None, every_s=10.0, keep=9)
    driver = scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=7), checkpoint=config)
    for _ in range(7):
        now[0] += 4.0
        driver.step()
    assert kept(driver) == [3, 6, 7]


def test_closing_keeps_what_was_not_due(tmp_path):
    driver = scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=9), checkpoint=CheckpointConfig(every=5))
    driver.step()
    assert kept(driver) == []
    assert driver.close() == []
    assert kept(driver) == [1]
