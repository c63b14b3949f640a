"""Keys, audits and receipts by the command line, from making the keys to a receipt that was changed."""

import json
import os
from pathlib import Path

import pytest
import yaml

from raycollab.cli import main


def experiment(folder, keys):
    """Three parties with keys, on the digits."""
    source = {"class_path": "Digits", "init_args": {"part": "train"}}
    part = {"class_path": "IID", "init_args": {"num_parts": 3}}
    learner = {"class_path": "SGD", "init_args": {"lr": 0.1, "steps": 2}}
    members = [
        {
            "name": name,
            "shard": {"class_path": "Part", "init_args": {"source": source, "partition": part, "index": index}},
            "learner": learner,
            "key": {"class_path": "Key", "init_args": key},
        }
        for index, (name, key) in enumerate(keys.items())
    ]
    net = {"class_path": "MLP", "init_args": {"num_features": 64, "num_outputs": 10, "hidden": [16]}}
    task = {"class_path": "ImageClassification", "init_args": {"net": net, "num_classes": 10}}
    plain = {
        "task": task,
        "agents": {"class_path": "Parties", "init_args": {"members": members}},
        "chain": [{"class_path": "Mean"}],
        "test": {"class_path": "Digits", "init_args": {"part": "test"}},
        "run": {"num_rounds": 3, "dir": str(folder / "runs"), "name": "audited"},
        "scaling": {"pool": "local"},
        "checkpoint": {"updates": True, "keep": 3},
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with keys, and a run that has ended."""
    folder = tmp_path_factory.mktemp("audit")
    keys = {}
    for name in ("north", "south", "west"):
        assert main(["keys", "new", name, "--out", str(folder)]) == 0
        keys[name] = {"path": str(folder / f"{name}.key"), "public": public(folder / f"{name}.key")}
    assert main(["run", str(experiment(folder, keys))]) == 0
    return folder


def public(path):
    from raycollab.keys import public_key

    return public_key(str(path))


def test_keys_are_made_and_shown(tmp_path, capsys):
    assert main(["keys", "new", "north", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    path = tmp_path / "north.key"
    assert f"key: {{class_path: Key, init_args: {{path: {path}, public: {public(path)}}}}}" in told
    assert main(["keys", "show", str(path)]) == 0
    assert capsys.readouterr().out.strip() == public(path)
    assert main(["keys", "new", "north", "--out", str(tmp_path)]) == 2
    assert "a key is never overwritten" in capsys.readouterr().err


def test_a_run_that_nobody_touched_is_vouched_for_and_computed_again(place, capsys):
    assert main(["audit", "verify", str(place / "runs/audited")]) == 0
    told = capsys.readouterr().out
    assert "signatures   12 hold" in told
    assert "recomputed   rounds 1, 2, 3: the same model, bit for bit" in told
    assert told.endswith("nothing was changed\n")
    assert main(["audit", "verify", str(place / "runs/audited"), "--no-recompute"]) == 0
    assert "recomputed" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["ledger.jsonl", "model/model.safetensors", "experiment.yaml"])
def test_a_changed_byte_is_found_and_named(place, capsys, name):
    path = place / "runs/audited" / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    try:
        assert main(["audit", "verify", str(place / "runs/audited")]) == 1
    finally:
        path.write_bytes(whole)
    told = capsys.readouterr().out
    assert ("FOUND  line " if name == "ledger.jsonl" else f"FOUND  {name}") in told


def test_receipts_are_handed_out_and_checked_by_themselves(place, tmp_path, capsys):
    file = tmp_path / "north.json"
    run = str(place / "runs/audited")
    assert main(["audit", "receipts", run, "--agent", "north", "--out", str(file)]) == 0
    assert "3 receipts of north" in capsys.readouterr().out
    assert main(["audit", "check", str(file)]) == 0
    assert capsys.readouterr().out == "4 signatures hold, 0 do not\n"
    receipts = json.loads(file.read_text())
    receipts["receipts"][0]["sent"]["norm"] *= 2
    file.write_text(json.dumps(receipts))
    assert main(["audit", "check", str(file)]) == 1
    assert "FOUND  round 1, field signature: the party has not signed this" in capsys.readouterr().out
    file.write_text("{")
    assert main(["audit", "check", str(file)]) == 1
    assert "export it again" in capsys.readouterr().err
    assert main(["audit", "receipts", run, "--agent", "east", "--out", str(file)]) == 2
    assert "there is no agent 'east'" in capsys.readouterr().err


def test_a_key_that_others_can_read_ends_the_run_before_it_begins(place, tmp_path, capsys):
    keys = {}
    for name in ("north", "south", "west"):
        main(["keys", "new", name, "--out", str(tmp_path)])
        keys[name] = {"path": str(tmp_path / f"{name}.key"), "public": public(tmp_path / f"{name}.key")}
    path = experiment(tmp_path, keys)
    os.chmod(tmp_path / "south.key", 0o644)
    assert main(["run", str(path)]) == 1
    told = capsys.readouterr().err
    assert "south" in told
    assert "can be read by others (mode 0644): run `chmod 600" in told
    assert not Path(tmp_path / "runs/audited").exists()


def test_agents_without_keys_beside_those_with_one_are_refused(place, tmp_path, capsys):
    keys = {"north": {"path": str(place / "north.key"), "public": public(place / "north.key")}}
    path = experiment(tmp_path, keys | {"south": keys["north"]})
    plain = yaml.safe_load(path.read_text())
    del plain["agents"]["init_args"]["members"][1]["key"]
    path.write_text(yaml.safe_dump(plain))
    assert main(["run", str(path)]) == 2
    assert "agents south have no key, and the others do" in capsys.readouterr().err
