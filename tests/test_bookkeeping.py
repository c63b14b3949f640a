"""Journal and ledger on a full disk: the run goes on, and what waits is written later."""

import json

import pytest

from raycollab.config import CheckpointConfig, RunConfig
from raycollab.errors import RunFolderError
from raycollab.ledger import LEDGER
from raycollab.ledger.audit import audited
from raycollab.storage import Storage

from .driver.support import Scripted, scripted

FULL = "[Errno 28] No space left on device"
RARELY = CheckpointConfig(every=10**6, ledger=True)


@pytest.fixture
def full(monkeypatch):
    """Names of the files that cannot be appended to."""
    names, append = set(), Storage.append_line

    def failing(self, path, text):
        if path in names:
            raise RunFolderError(f"cannot append to {self.child(path)}: {FULL}; free some disk space")
        append(self, path, text)

    monkeypatch.setattr(Storage, "append_line", failing)
    return names


def rounds(driver):
    lines = driver.folder.storage.read_bytes(LEDGER).splitlines()
    return [json.loads(line)["record"].get("round") for line in lines if b'"kind":"round"' in line]


def test_a_ledger_that_cannot_be_written_is_written_later(tmp_path, full):
    driver = scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=9), checkpoint=RARELY)
    assert driver.step().notes == ()
    full.add(LEDGER)
    (note,) = driver.step().notes
    assert note.startswith("LEDGER NOT WRITTEN: its newest lines wait: ")
    assert note.endswith("; the run goes on")
    driver.step()
    assert rounds(driver) == [1]
    full.clear()
    driver.step()
    assert rounds(driver) == [1, 2, 3, 4]
    driver.close()
    driver.folder.write_text("experiment.yaml", "")
    assert [finding for finding in audited(driver.folder).findings if "experiment" not in finding.place] == []


def test_the_ledger_is_ahead_of_the_journal_and_never_behind(tmp_path, full):
    """Killed between the two, a run has a line more than it needs; the other way round one would seem to be removed."""
    driver = scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=9), checkpoint=RARELY)
    full.add("journal.jsonl")
    driver.step()
    assert rounds(driver) == [1]
    assert driver.folder.rows() == []


def test_none_is_kept_where_none_is_asked_for(tmp_path):
    driver = scripted(tmp_path, Scripted(), checkpoint=CheckpointConfig(ledger=False))
    driver.step()
    assert not driver.folder.storage.exists(LEDGER)
    assert (driver.books.run, driver.books.head) == ("", "")
