"""A real run held against its ledger: resumed, replayed, and tampered with in a hundred ways."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import raycollab as rc
from raycollab.checkpoint import RunFolder
from raycollab.errors import ConfigError, RunFolderError
from raycollab.keys import new_key
from raycollab.ledger import LEDGER, Ledger
from raycollab.ledger.audit import audited
from raycollab.ledger.receipts import checked_receipts, receipts_of

from ..contracts.support import ONE_STEP, Training, digits

AGENTS = ("agent-0", "agent-1", "agent-2")


def experiment(keys=None, rounds=3, **settings):
    made = digits(ONE_STEP, num_agents=3, rounds=rounds, checkpoint=rc.CheckpointConfig(updates=True), **settings)
    agents = [replace(agent, key=keys[agent.name] if keys else None) for agent in made.agents.agents()]
    return replace(made, agents=rc.Parties(tuple(agents)))


def begun(folder, made):
    folder.write_text("experiment.yaml", yaml.safe_dump(made.to_plain()))
    return Training(made, folder=folder)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    place = str(tmp_path_factory.mktemp("keys"))
    return {name: new_key(name, place) for name in AGENTS}


@pytest.fixture(scope="module")
def signed(tmp_path_factory, keys):
    folder = RunFolder.create(str(tmp_path_factory.mktemp("runs")), "signed")
    begun(folder, experiment(keys)).finish()
    return folder


def records(folder):
    return [line.record for line in audited(folder).lines]


def kinds(folder):
    return [record["kind"] for record in records(folder)]


def test_a_run_that_nobody_touched_is_vouched_for(signed):
    audit = audited(signed)
    assert audit.findings == []
    assert audit.signatures == 3 + 3 * 3  # three approvals, and three updates in each of three rounds
    assert list(audit.rounds) == [1, 2, 3]
    entry = audit.rounds[2]["agents"]["agent-1"]
    assert entry["used"] == entry["sent"]["weight"] > 0
    assert entry["sent"]["norm"] > 0
    assert audit.rounds[2]["after"] == next(line.hash for line in audit.lines if line.record.get("round") == 1)
    assert records(signed)[1]["parties"]["agent-0"]["examples"] > 0


def test_a_run_without_keys_is_chained_and_unsigned(tmp_path):
    folder = RunFolder.create(str(tmp_path), "unsigned")
    begun(folder, experiment()).finish()
    audit = audited(folder)
    assert (audit.findings, audit.signatures, len(audit.rounds)) == ([], 0, 3)
    with pytest.raises(ConfigError, match=r"agent 'agent-0' has no key and signs nothing.*keys new agent-0"):
        receipts_of(audit, "agent-0")


def test_no_ledger_is_kept_where_none_is_asked_for(tmp_path):
    folder = RunFolder.create(str(tmp_path), "none")
    made = digits(ONE_STEP, num_agents=3, rounds=1, checkpoint=rc.CheckpointConfig(ledger=False))
    run = begun(folder, made).finish()
    assert run.reports[0].agents[0].receipt is None
    with pytest.raises(RunFolderError, match=r"has no ledger.jsonl.*CheckpointConfig.ledger=True"):
        audited(folder)
    assert not digits(ONE_STEP).agents.simulated
    assert digits(ONE_STEP).keeps_ledger
    split = rc.Split(rc.data.Digits("train"), rc.IID(3), (ONE_STEP,))
    assert not replace(digits(ONE_STEP), agents=split).keeps_ledger


def test_a_resumed_run_goes_on_with_the_chain_and_replays_do_not_fork_it(tmp_path, keys):
    """Killed after round 3 with a checkpoint of round 2: round 3 is replayed to the record that stands there."""
    made, folder = experiment(keys, rounds=4), RunFolder.create(str(tmp_path), "killed")
    begun(folder, made).steps(3)
    before = folder.storage.read_bytes(LEDGER)
    folder.storage.delete("checkpoints/000003")
    with (Path(folder.path) / LEDGER).open("ab") as file:
        file.write(b'{"torn')
    resumed = Training(made, folder=folder)
    resumed.finish()
    assert folder.storage.read_bytes(LEDGER).startswith(before)
    assert audited(folder).findings == []
    assert [record["round"] for record in records(folder) if record["kind"] == "round"] == [1, 2, 3, 4]
    assert kinds(folder).count("resumed") == 1
    assert kinds(folder).count("run") == kinds(folder).count("approved") == 1


def test_a_checkpoint_that_the_ledger_cannot_witness_does_not_count(tmp_path, keys, monkeypatch):
    """Its line, and those of the rounds before it, are on the disk first: no resume finds a checkpoint without."""

    def full(ledger, version, staged):
        raise RunFolderError("no space left on the disk")

    folder = RunFolder.create(str(tmp_path), "full")
    training = begun(folder, experiment(keys)).steps(1)
    training.driver.close()
    before = sorted(path.name for path in (Path(folder.path) / "checkpoints").iterdir())
    monkeypatch.setattr(Ledger, "checkpoint", full)
    again = Training(experiment(keys), folder=folder).steps(2)
    with pytest.raises(RunFolderError, match=r"CHECKPOINT NOT WRITTEN: round 3: no space left.*of round 1 is kept"):
        again.driver.close()
    assert sorted(path.name for path in (Path(folder.path) / "checkpoints").iterdir()) == before


def test_a_round_that_comes_out_differently_stands_there_twice(tmp_path, keys):
    """Another agent fails when the round is done again: both stories stay, and later rounds follow the newer one."""
    made, folder = experiment(keys, rounds=4), RunFolder.create(str(tmp_path), "differs")
    begun(folder, made).steps(3)
    folder.storage.delete("checkpoints/000003")
    resumed = Training(made, folder=folder)
    host = next(iter(resumed.pool._hosts.values()))
    alone = host._alone

    def fails(round, assignment):
        broken = round.index == 3 and assignment.agent == "agent-1"
        return rc.types.Failure("agent-1", "OSError", "disk") if broken else alone(round, assignment)

    host._alone = fails
    resumed.finish()
    audit = audited(folder)
    assert audit.findings == []
    assert [record["round"] for record in records(folder) if record["kind"] == "round"] == [1, 2, 3, 3, 4]
    assert audit.rounds[3]["refused"] == {"agent-1": "OSError: disk"}
    assert sorted(audit.rounds[3]["agents"]) == ["agent-0", "agent-2"]


def test_a_run_that_was_tampered_with_is_not_resumed(tmp_path, signed):
    folder = copied(signed, tmp_path)
    change(Path(folder.path) / LEDGER, b'"used":', b'"Used":')
    with pytest.raises(RunFolderError, match=r"ledger.jsonl is not what the run wrote: line 3, field .*Used"):
        Training(experiment(rounds=5), folder=folder)


def test_a_checkpoint_of_another_model_is_not_resumed(tmp_path, keys):
    made, folder = experiment(keys, rounds=4), RunFolder.create(str(tmp_path), "other")
    run = begun(folder, made).steps(2)
    run.driver.vectors["params"][0] += 1
    folder.begin_checkpoint(2)
    folder.commit_checkpoint(2, run.driver.state_dict())
    with pytest.raises(RunFolderError, match="the checkpoint of round 2 has another model than"):
        Training(made, folder=folder)


def copied(folder, place):
    shutil.copytree(folder.path, place / "copy")
    return RunFolder.open(str(place / "copy"))


def change(path, before, after):
    data = path.read_bytes()
    assert before in data
    path.write_bytes(data.replace(before, after, 1))


def test_a_hundred_random_edits_are_all_found(tmp_path, signed):
    """One byte of the ledger or of a checkpoint's files each time; the place that is named is the edited one."""
    folder = copied(signed, tmp_path)
    root, drawn = Path(folder.path), random.Random(1)
    files = [root / LEDGER, *(path for path in sorted(root.glob("checkpoints/**/*")) if path.is_file())]
    named = 0
    for number in range(100):
        path = files[0] if number % 2 else drawn.choice(files[1:])
        whole = path.read_bytes()
        place = drawn.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << drawn.randrange(8))]) + whole[place + 1 :])
        findings = audited(folder).findings
        assert findings, f"{path} byte {place}"
        line = whole[:place].count(b"\n") + 1
        where = f"line {line}" if path == files[0] else f"checkpoint {int(path.relative_to(root).parts[1])}"
        named += any(finding.place == where for finding in findings)
        path.write_bytes(whole)
    assert named >= 99  # an end of line that is changed makes two lines one
    assert audited(folder).findings == []


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (lambda root: (root / "checkpoints/000003/agents/agent-0.safetensors").unlink(), "the file is missing"),
        (lambda root: (root / "checkpoints/000003/more").write_text("x"), "the file is new"),
        (lambda root: change(root / "experiment.yaml", b"num_rounds: 3", b"num_rounds: 9"), "it is not the one"),
        (lambda root: shutil.copytree(root / "checkpoints/000003", root / "checkpoints/000009"), "no line of the"),
    ],
)
def test_files_that_come_and_go_are_found(tmp_path, signed, edit, what):
    folder = copied(signed, tmp_path)
    edit(Path(folder.path))
    assert any(what in finding.what for finding in audited(folder).findings)


def test_lines_that_are_cut_off_at_the_end_are_missed(tmp_path, signed):
    """What is left is a whole chain; the journal and the checkpoint know that the run went further."""
    folder = copied(signed, tmp_path)
    lines = folder.storage.read_bytes(LEDGER).split(b"\n")
    last = next(place for place, line in enumerate(lines) if b'"round":3' in line)
    folder.storage.write_bytes(LEDGER, b"\n".join(lines[:last]) + b"\n")
    findings = audited(folder).findings
    assert any("it ends with round 2, and the run reached round 3" in finding.what for finding in findings)


def test_a_ledger_that_is_written_anew_does_not_have_the_parties_signatures(tmp_path, signed, keys):
    """Whoever holds the folder can make a chain that is whole; what parties signed they cannot make."""
    from raycollab.ledger.lines import FIRST, line_of

    folder = copied(signed, tmp_path)
    prev, texts = FIRST, []
    for record in records(signed):
        record = json.loads(json.dumps(record))
        if record["kind"] == "round":
            record["agents"]["agent-1"]["sent"]["weight"] *= 2
        text, prev = line_of(record, prev)
        texts.append(text)
    folder.storage.write_bytes(LEDGER, ("\n".join(texts) + "\n").encode())
    unsigned = [finding.field for finding in audited(folder).findings if "has not signed this" in finding.what]
    assert unsigned == ["agents.agent-1.signature"] * 3


def test_receipts_are_checked_by_themselves(signed):
    receipts = receipts_of(audited(signed), "agent-1")
    assert checked_receipts(receipts) == (4, [])
    receipts = json.loads(json.dumps(receipts))
    receipts["receipts"][1]["sent"]["weight"] += 1
    good, findings = checked_receipts(receipts)
    assert (good, [str(finding) for finding in findings]) == (
        3,
        ["round 2, field signature: the party has not signed this"],
    )
    with pytest.raises(ConfigError, match="there is no agent 'agent-9'; the ledger's are agent-0, agent-1, agent-2"):
        receipts_of(audited(signed), "agent-9")
