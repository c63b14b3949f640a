import json
import math
import os
import pickle
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from pyarrow import fs, parquet

from raycollab import storage as storage_module
from raycollab.checkpoint import RunFolder, load_state, save_state
from raycollab.errors import RunFolderError
from raycollab.storage import Storage

NAMES = ["hospital/a b", "hospital_a b", "a%2Fb", "a/b", "", ".", "..", "x\0\n", "\ud800", "漢" * 99, "漢" * 98]


def save_checkpoint(run, round_index, state, *, keep):
    """A checkpoint in which no agent remembers anything."""
    run.begin_checkpoint(round_index)
    run.commit_checkpoint(round_index, state, keep=keep)


def state_of(value):
    return {
        "params": torch.full((4,), float(value)),
        "bf16": torch.full((3,), value, dtype=torch.bfloat16),
        "scalar": torch.tensor(value),
        "empty": torch.empty(0, 3),
        "steps": value,
        "best": (math.nan, -math.inf, 1.0),
        "nothing": {},
    }


def assert_state(state, value):
    expected = state_of(value)
    assert list(state) == list(expected)
    for key in ("params", "bf16", "scalar", "empty"):
        assert state[key].dtype == expected[key].dtype
        assert state[key].shape == expected[key].shape
        assert torch.equal(state[key], expected[key])
    assert {key: repr(state[key]) for key in ("steps", "best", "nothing")} == {
        key: repr(expected[key]) for key in ("steps", "best", "nothing")
    }


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.fixture(params=["path", "file_uri", "remote"])
def run(request, tmp_path, monkeypatch):
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(storage_module, "_resolve", lambda uri: (remote, "runs"))
    place = {"path": str(tmp_path / "runs"), "file_uri": (tmp_path / "runs").as_uri(), "remote": "s3://runs"}
    return RunFolder.create(place[request.param])


@pytest.fixture
def local(tmp_path):
    return RunFolder.create(str(tmp_path))


def folders(run):
    return run.storage.list_dirs("checkpoints")


# ---- the folder


def test_free_names_are_numbered(tmp_path):
    (tmp_path / "run-007").mkdir()
    (tmp_path / "run-x").mkdir()
    (tmp_path / "run-009").write_text("a file is in the way too")
    assert [RunFolder.create(str(tmp_path)).name for _ in range(2)] == ["run-010", "run-011"]
    assert RunFolder.create(str(tmp_path), "mine").path == str(tmp_path / "mine")


def test_first_name_and_path(run, tmp_path):
    assert run.name == "run-001"
    assert run.path == (str(tmp_path / "runs" / "run-001") if run.storage.is_local else "s3://runs/run-001")
    assert (tmp_path / "runs" / "run-001").is_dir()


def test_existing_folder_is_refused(tmp_path):
    RunFolder.create(str(tmp_path), "mine")
    with pytest.raises(RunFolderError) as caught:
        RunFolder.create(str(tmp_path), "mine")
    path = tmp_path / "mine"
    assert str(caught.value) == (
        f"run folder {path} exists already: continue it with `raycollab resume {path}`, "
        "or choose another name with --run.name"
    )


def test_a_place_that_takes_no_folder_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    for name in ("", "mine"):
        with pytest.raises(RunFolderError, match=r"cannot .*runs.*RunConfig.dir"):
            RunFolder.create(str(tmp_path / "runs"), name)


def test_open_wants_an_experiment(run):
    with pytest.raises(RunFolderError, match=r"run-001 is not a run folder: it has no experiment.yaml"):
        RunFolder.open(run.path)
    with pytest.raises(RunFolderError, match=r"nowhere is not a run folder: it does not exist"):
        RunFolder.open("nowhere")
    if run.storage.is_local:
        run.write_text("experiment.yaml", "seed: 0\n")
        assert RunFolder.open(run.path) == run
        assert RunFolder.open("file://" + run.path).path == run.path
        assert pickle.loads(pickle.dumps(run)) == run


def test_text_and_json_round_trip(run):
    run.write_text("report.txt", "ä\n")
    assert run.read_text("report.txt") == "ä\n"
    run.write_json("result.json", {"loss": math.inf, "rounds": 3, "list": [None, 0.1]})
    assert run.read_json("result.json") == {"loss": math.inf, "rounds": 3, "list": [None, 0.1]}
    run.storage.write_bytes("result.json", b'{"loss":')
    with pytest.raises(RunFolderError, match=r"run-001/result.json is damaged"):
        run.read_json("result.json")
    with pytest.raises(RunFolderError, match=r"result.json: .*Tensor.*plain Python"):
        run.write_json("result.json", {"loss": torch.ones(1)})
    with pytest.raises(RunFolderError, match="cannot read"):
        run.read_text("absent.txt")


CREATE = """
import sys
from raycollab.checkpoint import RunFolder
print("ready", flush=True)
sys.stdin.readline()
print(*(RunFolder.create(sys.argv[1]).name for _ in range(4)))
"""


def test_two_processes_at_once_get_different_names(tmp_path):
    command = [sys.executable, "-c", CREATE, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    names = [name for process in processes for name in process.communicate(timeout=20)[0].split()]
    assert sorted(names) == [f"run-{number:03d}" for number in range(1, 9)]


# ---- the journal


def test_journal_round_trip_and_truncate(run):
    assert run.rows() == []
    run.truncate(5)
    rows = [{"round": 1, "loss": 0.1 + 0.2}, {"round": 2, "loss": math.nan}, {"round": 3, "x": [-math.inf, "ä\n"]}]
    for row in rows:
        run.append(row)
    assert repr(run.rows()) == repr(rows)
    run.truncate(2)
    assert repr(run.rows()) == repr(rows[:2])
    run.append(rows[2])
    assert repr(run.rows()) == repr(rows)


@pytest.mark.parametrize("rest", [b'{"round": 3, "lo', b'{"round": 3}', b"\0\0\0\n", b"[]\n"])
def test_torn_last_line_never_was(run, rest):
    run.append({"round": 1})
    run.append({"round": 2})
    run.storage.write_bytes("journal.jsonl", run.storage.read_bytes("journal.jsonl") + rest)
    assert [row["round"] for row in run.rows()] == [1, 2]
    run.truncate(2)
    run.append({"round": 3, "again": True})
    assert run.rows() == [{"round": 1}, {"round": 2}, {"round": 3, "again": True}]


def test_damage_in_the_middle_is_an_error(run):
    run.storage.write_bytes("journal.jsonl", b'{"round": 1}\n{"rou\n{"round": 3}\n')
    with pytest.raises(RunFolderError, match=r"line 2 of .*run-001/journal.jsonl is damaged"):
        run.rows()


def test_rows_that_cannot_be_journalled(run):
    with pytest.raises(RunFolderError, match="round=None"):
        run.append({"loss": 1.0})
    with pytest.raises(RunFolderError, match=r"journal.jsonl: .*Tensor"):
        run.append({"round": 1, "loss": torch.ones(1)})
    assert run.rows() == []


def test_truncate_that_is_killed_leaves_the_journal(local, monkeypatch):
    local.append({"round": 1})
    local.append({"round": 2})
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            local.truncate(1)
    assert [row["round"] for row in local.rows()] == [1, 2]


# ---- checkpoints


def killed(*_):
    raise KeyboardInterrupt


def test_checkpoint_round_trip(run):
    assert run.latest_checkpoint() is None
    agents = run.begin_checkpoint(10)
    assert agents == run.agents_storage(10)
    save_state(agents, "a/b", state_of(5))
    assert run.latest_checkpoint() is None
    run.commit_checkpoint(10, state_of(10), keep=2)
    round_index, state = run.latest_checkpoint()
    assert round_index == 10
    assert_state(state, 10)
    state["params"].add_(1)  # writable
    assert_state(load_state(run.agents_of(10), "a/b"), 5)
    assert folders(run) == ["000010"]
    assert run.storage.list_files("checkpoints/000010") == ["state.json", "state.safetensors"]


def test_the_newest_are_kept(run):
    for index in (1, 2, 3, 4):
        save_checkpoint(run, index, state_of(index), keep=2)
    assert folders(run) == ["000003", "000004"]
    save_checkpoint(run, 1234567, state_of(7), keep=1)
    assert folders(run) == ["1234567"]
    assert run.latest_checkpoint()[0] == 1234567


def test_the_same_round_is_replaced(run):
    save_checkpoint(run, 3, state_of(1), keep=2)
    save_state(run.begin_checkpoint(3), "new", 1)
    run.commit_checkpoint(3, state_of(2), keep=2)
    assert_state(run.latest_checkpoint()[1], 2)
    assert load_state(run.agents_of(3), "new") == 1
    assert folders(run) == ["000003"]


def test_shared_memory_and_views_are_kept_by_value(local):
    buffer = torch.arange(6.0)
    save_checkpoint(local, 1, {"all": buffer, "head": buffer[:2], "t": buffer.view(2, 3).t()}, keep=1)
    _, state = local.latest_checkpoint()
    assert torch.equal(state["head"], buffer[:2])
    assert torch.equal(state["t"], buffer.view(2, 3).t())


@pytest.mark.parametrize("state", [{"a": object()}, {"a": torch.ones(1, dtype=torch.complex128)}])
def test_a_state_that_cannot_be_kept_is_named(local, state):
    with pytest.raises(RunFolderError, match="cannot keep the state of round 4"):
        save_checkpoint(local, 4, state, keep=1)
    with pytest.raises(RunFolderError, match="cannot keep the state of agent 'me'"):
        save_state(local.storage, "me", state)


@pytest.mark.parametrize("call", ["replace", "rename", "fsync", "mkdir"])
@pytest.mark.parametrize("same_round", [False, True])
def test_a_kill_at_any_step_leaves_a_whole_checkpoint(local, monkeypatch, call, same_round):
    """The n-th system call of a kind is where the process dies; n grows until the save gets through.

    Whatever n is, the newest whole checkpoint is either the old one or the new one, and the next save works.
    """
    save_checkpoint(local, 8, state_of(8), keep=1)
    real, index = getattr(os, call), 8 if same_round else 9
    for n in range(50):
        calls = 0

        def dies(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > n:  # noqa: B023 - called inside this turn of the loop only
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, dies)
            try:
                save_state(local.begin_checkpoint(index), "agent", 1)
                local.commit_checkpoint(index, state_of(100 + n), keep=1)
                done = True
            except KeyboardInterrupt:
                done = False
        found, state = local.latest_checkpoint()
        assert_state(state, 100 + n if state["steps"] == 100 + n else 8)
        if done:
            break
        save_checkpoint(local, 8, state_of(8), keep=1)
        if not same_round:
            shutil.rmtree(local.path + "/checkpoints/000009", ignore_errors=True)
    assert n > 0
    assert (found, state["steps"]) == (index, 100 + n)
    assert folders(local) == [f"{index:06d}"]


def test_a_kill_between_the_two_renames_keeps_the_old_one_and_its_agents(local, monkeypatch):
    save_state(local.begin_checkpoint(3), "agent", "old")
    local.commit_checkpoint(3, state_of(3), keep=2)
    real = os.rename
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda a, b: killed() if a.endswith(".tmp-000003") else real(a, b))
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(local, 3, state_of(33), keep=2)
    assert folders(local) == [".old-000003", ".tmp-000003"]
    assert_state(local.latest_checkpoint()[1], 3)
    assert load_state(local.agents_of(3), "agent") == "old"
    save_checkpoint(local, 4, state_of(4), keep=2)
    assert folders(local) == [".old-000003", "000004"]  # one of the two that are kept
    save_checkpoint(local, 3, state_of(3), keep=2)
    assert folders(local) == ["000003", "000004"]


def test_staging_of_a_killed_run_is_cleared(local):
    save_state(local.begin_checkpoint(5), "dead", 1)
    agents = local.begin_checkpoint(5)
    assert load_state(agents, "dead") is None
    local.commit_checkpoint(5, state_of(5), keep=1)
    assert load_state(local.agents_of(5), "dead") is None
    local.begin_checkpoint(6)
    save_checkpoint(local, 7, state_of(7), keep=1)
    assert folders(local) == ["000007"]


def test_elsewhere_a_folder_without_its_seal_is_no_checkpoint(run):
    save_checkpoint(run, 1, state_of(1), keep=2)
    save_checkpoint(run, 2, state_of(2), keep=2)
    run.storage.delete("checkpoints/000002/state.json")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert run.latest_checkpoint()[0] == 1
    assert len(caught) == (1 if run.storage.is_local else 0)


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("position", [0, 9, 60, -1, -20])
def test_bit_flip_falls_back_to_the_one_before(local, tmp_path, file, position):
    save_checkpoint(local, 8, state_of(8), keep=2)
    save_checkpoint(local, 10, state_of(10), keep=2)
    flip(tmp_path / "run-001" / "checkpoints" / "000010" / file, position)
    with pytest.warns(UserWarning, match=r"checkpoints/000010 is damaged: .*falling back to round 8"):
        round_index, state = local.latest_checkpoint()
    assert round_index == 8
    assert_state(state, 8)


def test_after_a_fallback_the_damaged_one_does_not_push_out_newer_work(local, tmp_path):
    save_checkpoint(local, 8, state_of(8), keep=1)
    shutil.copytree(tmp_path / "run-001/checkpoints/000008", tmp_path / "run-001/checkpoints/000010")
    save_checkpoint(local, 9, state_of(9), keep=1)
    with pytest.warns(UserWarning, match=r"of 8 found, .*of 10 expected; it is skipped; falling back to round 9"):
        assert local.latest_checkpoint()[0] == 9
    save_checkpoint(local, 10, state_of(10), keep=1)
    assert folders(local) == ["000010"]


def test_all_damaged_is_an_error(local, tmp_path):
    for index in (1, 2):
        save_checkpoint(local, index, state_of(index), keep=2)
        flip(tmp_path / "run-001" / "checkpoints" / f"{index:06d}" / "state.safetensors", -1)
    with pytest.raises(RunFolderError, match=r"no checkpoint of .*run-001 is whole: .*000002.*000001.*another run"):
        local.latest_checkpoint()


def test_no_pickle_is_ever_read(local, tmp_path):
    save_checkpoint(local, 1, state_of(1), keep=2)
    folder = tmp_path / "run-001" / "checkpoints" / "000001"
    (folder / "state.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(RunFolderError, match="damaged"):
        local.latest_checkpoint()


# ---- what agents remember


def test_agent_names_of_any_characters(local):
    agents = local.begin_checkpoint(1)
    for index, name in enumerate(NAMES):
        assert load_state(agents, name) is None
        save_state(agents, name, {"index": index, "w": torch.full((2,), float(index))})
    local.commit_checkpoint(1, None, keep=1)
    agents = pickle.loads(pickle.dumps(local.agents_of(1)))
    assert len(agents.list_files()) == len(NAMES)
    for index, name in enumerate(NAMES):
        state = load_state(agents, name)
        assert state["index"] == index
        assert torch.equal(state["w"], torch.full((2,), float(index)))


def test_agents_file_is_readable_as_safetensors_and_named_as_expected(local):
    save_state(local.storage, "hospital/a b", {"w": torch.ones(2)})
    assert local.storage.list_files() == ["hospital%2Fa%20b.safetensors"]
    data = local.storage.read_bytes("hospital%2Fa%20b.safetensors")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["raycollab"])["of"] == "hospital/a b"


@pytest.mark.parametrize("position", [0, 20, 60, -1])
def test_damaged_agent_state_is_named(local, tmp_path, position):
    save_state(local.storage, "a", state_of(1))
    flip(tmp_path / "run-001" / "a.safetensors", position)
    with pytest.raises(RunFolderError, match=r"run-001/a.safetensors is damaged: .*let agent 'a' start afresh"):
        load_state(local.storage, "a")


def test_another_agents_state_is_refused(local, tmp_path):
    save_state(local.storage, "a", 1)
    shutil.copy(tmp_path / "run-001" / "a.safetensors", tmp_path / "run-001" / "b.safetensors")
    with pytest.raises(RunFolderError, match="of 'a' found"):
        load_state(local.storage, "b")


# ---- tables


def test_tables_fill_missing_columns_with_null(run, tmp_path):
    rounds = [{"round": 1, "loss": 1, "failures": {}}, {"round": 2, "loss": 0.5, "accuracy": 0.9, "names": ["a"]}]
    run.write_tables(rounds=rounds, agents=[])
    folder = tmp_path / "runs" / "run-001"
    table = parquet.read_table(folder / "rounds.parquet")
    assert table.column_names == ["round", "loss", "failures", "accuracy", "names"]
    assert table.to_pylist() == [
        {"round": 1, "loss": 1.0, "failures": None, "accuracy": None, "names": None},
        {"round": 2, "loss": 0.5, "failures": None, "accuracy": 0.9, "names": ["a"]},
    ]
    assert parquet.ParquetFile(folder / "rounds.parquet").metadata.row_group(0).column(0).compression == "ZSTD"
    assert parquet.read_table(folder / "agents.parquet").num_rows == 0


def test_a_column_of_two_types_is_an_error(run):
    with pytest.raises(RunFolderError, match=r"agents.parquet: .*one type"):
        run.write_tables(rounds=[], agents=[{"agent": "a"}, {"agent": 1}])


def test_storage_of_the_run_is_the_folder(local, tmp_path):
    assert local.storage == Storage(str(tmp_path / "run-001"))
