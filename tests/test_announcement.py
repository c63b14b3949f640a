"""Where a driver says that it can be reached, and until when."""

import os

import pytest

from raycollab.announcement import Announcement, announced, announcement, authenticate
from raycollab.checkpoint import RunFolder


@pytest.fixture
def folder(tmp_path):
    made = RunFolder.create(str(tmp_path), "run")
    made.write_text("experiment.yaml", "")
    return made


def test_it_is_said_as_long_as_it_holds(folder, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert announcement(folder) is None
    with announced(folder, "10.0.0.1:6379"):
        assert announcement(folder) == Announcement("10.0.0.1:6379", folder.path, "token")
    assert announcement(folder) is None


@pytest.mark.parametrize(("own", "used"), [(None, "token"), ("disabled", "disabled")])
def test_how_to_reach_it_is_taken_over_unless_something_is_set(folder, monkeypatch, own, used):
    with monkeypatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        folder.write_json("driver.json", {"address": "a:1", "name": "x", "auth": "token"})
        patch.delenv("RAY_AUTH_MODE") if own is None else patch.setenv("RAY_AUTH_MODE", own)
        authenticate(folder.path)
        assert os.environ["RAY_AUTH_MODE"] == used


def test_nothing_is_taken_over_where_nobody_runs(folder, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    authenticate(folder.path)
    assert "RAY_AUTH_MODE" not in os.environ
