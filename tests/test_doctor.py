"""Each fault that is planted in what nodes say is found, named with its node, and comes with a remedy."""

import os
from dataclasses import replace

import pytest

from raycollab.cli import main
from raycollab.doctor import Finding, Node, examined, judged, own_versions, parties, sizes

VERSIONS = {"python": "3.11.9", "ray": "2.60.0", "torch": "2.15.0"}
GOOD = [Node("10.0.0.1", VERSIONS), Node("10.0.0.2", VERSIONS, gpus=1.0, gpus_seen=1, token_mode=0o600)]


def bad(findings):
    return {each.what: f"{each.found} -> {each.remedy}" for each in findings if not each.well}


def test_nothing_is_found_where_all_is_well():
    assert bad(judged(GOOD, VERSIONS)) == {}
    assert len(judged(GOOD, VERSIONS)) == 9


@pytest.mark.parametrize(
    ("fault", "what", "words"),
    [
        ({"versions": {**VERSIONS, "python": "3.12.1"}}, "python", "3.11.9 here, 3.12.1 on 10.0.0.2 -> install python"),
        ({"versions": {**VERSIONS, "ray": "2.52.0"}}, "ray", "2.60.0 here, 2.52.0 on 10.0.0.2 -> install ray 2.60.0"),
        ({"versions": {**VERSIONS, "torch": "2.1.0"}}, "torch", "2.15.0 here, 2.1.0 on 10.0.0.2"),
        ({"gpus_seen": 0}, "GPUs", "10.0.0.2 has 1, torch sees 0 -> install a CUDA build of torch"),
        ({"skew_s": -31.0}, "clocks", "10.0.0.2 -31.0 s -> let chrony"),
        ({"auth": ""}, "token", "whoever reaches Ray's ports can run code there -> start Ray with RAY_AUTH_MODE=token"),
        ({"token_mode": 0o644}, "token's file", "others can read it on 10.0.0.2 (644) -> chmod 600"),
        ({"disk_used": 0.97}, "disk of Ray's files", "full on 10.0.0.2 97% -> free space there"),
        ({"storage": "No such file"}, "storage", "10.0.0.2: No such file -> give a place that all nodes see"),
    ],
)
def test_each_planted_fault_is_found_alone(fault, what, words):
    found = bad(judged([GOOD[0], replace(GOOD[1], **fault)], VERSIONS))
    assert list(found) == [what]
    assert words in found[what]


def labelled(*names):
    return [
        {"NodeManagerAddress": f"10.0.0.{place}", "Labels": {"raycollab.io/party": name} if name else {}}
        for place, name in enumerate(names, start=1)
    ]


def test_labels_that_parties_lack_or_share(digits):
    pinned = digits("scaling.on_party_nodes=true", "agents.partition.num_parts=2")
    assert bad(parties(labelled("", "party-0", "party-1"), pinned)) == {}
    (lacking,) = bad(parties(labelled("", "party-0"), pinned)).values()
    assert "of party-1; labels that exist: party-0 on 10.0.0.2 -> Start it on the party's node with" in lacking
    (twice,) = bad(parties(labelled("a", "a"), None)).values()
    assert "held by more than one node: a on 10.0.0.1, 10.0.0.2 -> The agent runs where its data is" in twice
    assert bad(parties(labelled("", "a"), digits())) == {}  # agents that may run anywhere need none


def test_object_stores_that_are_too_small_for_the_model_or_not_in_memory(digits):
    """9,610 parameters of four bytes, four times over, are 153,760 bytes."""
    assert bad(sizes(GOOD, digits())) == {}
    (small,) = bad(sizes([GOOD[0], replace(GOOD[1], store=150_000.0)], digits())).values()
    assert (
        "10.0.0.2 0 MB; 4 vectors of the model take 0 MB -> start Ray there with --object-store-memory=153760" in small
    )
    (slow,) = bad(sizes([replace(GOOD[0], shm=1e6)], None)).values()
    assert "/dev/shm is smaller than it on 10.0.0.1 1 MB -> give it more shared memory" in slow


def test_the_command_judges_by_the_settings_that_the_run_is_to_have(monkeypatch, capsys):
    """With a setting there is an experiment; without one the cluster is looked at alone."""
    asked = []

    def examine(address, experiment, storage):
        asked.append((address, experiment, storage))
        return [Finding("token", "asked for"), Finding("disk", "full", False, "free space")]

    monkeypatch.setattr("raycollab.doctor.examined", examine)
    settings = ("--scaling.on_party_nodes=true", "--run.dir=/shared", "--agents.partition.num_parts=2")
    assert main(["doctor", "--address", "h:6379", *settings]) == 1
    assert main(["doctor", "--address=h:6379", "--storage=/shared"]) == 1
    (_, pinned, _), alone = asked
    assert (pinned.run.dir, pinned.scaling.on_party_nodes, len(pinned.members())) == ("/shared", True, 2)
    assert alone == ("h:6379", None, "/shared")
    said = "ok  token: asked for\n!!  disk: full\n    to do: free space\n1 of 2 checks found something to do\n"
    assert capsys.readouterr().out == 2 * said


@pytest.mark.ray
def test_a_relative_place_is_the_same_for_every_process(ray_cluster, tmp_path, monkeypatch):
    """As it is for a run, whose folder has an absolute path before anything starts."""
    monkeypatch.chdir(tmp_path)
    (storage,) = [each for each in examined(None, storage="runs") if each.what == "storage"]
    assert storage.well, storage.found


@pytest.mark.ray
def test_a_real_cluster_is_asked_and_its_faults_are_found(ray_cluster, tmp_path):
    """The one of this test run asks for no token; a place that is a file is planted.

    What was written to try the place is gone afterwards.
    """
    found = {each.what: each for each in examined(None, storage=str(tmp_path / "runs"))}
    assert os.listdir(tmp_path / "runs") == []
    assert not found["token"].well
    assert [found[name].well for name in ("storage", "clocks", "GPUs", "ray", "torch", "python")] == [True] * 6
    (tmp_path / "file").write_text("")
    found = {each.what: each for each in examined(None, storage=str(tmp_path / "file"))}
    assert "this machine cannot write there" in found["storage"].found


def test_versions_are_those_of_this_process():
    assert own_versions()["ray"]
    assert set(own_versions()) == {"python", "ray", "torch", "numpy", "raycollab"}
