"""A head and a node with faults planted in them: what the doctor finds on them, and a job where the disk is full."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .hosts import HEAD, alone, not_allowed

ROOT = Path(__file__).parents[2]
AHEAD_S = 31
PLANTED = f"import time\n\n_true = time.time\ntime.time = lambda: _true() + {AHEAD_S}\n"
LABEL = "--labels=raycollab.io/party=party-0"
pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.cluster]


@pytest.fixture(scope="module")
def place():
    """A short folder, with what Ray stores in a small file system of its own, and one of other modules."""
    if why := not_allowed():
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="rf-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        at = Path(folder)
        for name in ("small", "shared", "work", ".ray", "modules/torch-0.0.1.dist-info"):
            (at / name).mkdir(parents=True)
        (at / ".ray" / "auth_token").write_text("ef" * 32)
        (at / ".ray" / "auth_token").chmod(0o644)
        (at / "modules" / "sitecustomize.py").write_text(PLANTED)
        (at / "modules" / "torch-0.0.1.dist-info" / "METADATA").write_text("Name: torch\nVersion: 0.0.1\n")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "none", at / "small"], check=True)
        try:
            yield at
        finally:
            subprocess.run(["umount", "--lazy", at / "small"], check=True)


@pytest.fixture(scope="module")
def call(place):
    """Runs a command on the machine; returns its exit code and what it said."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {"HOME": str(place), "RAY_AUTH_MODE": "token", "PYTHONPATH": str(ROOT)}
    own["PATH"] = f"{Path(sys.executable).parent}:{clean['PATH']}"
    with alone("rc-faults") as within:

        def called(command, **more):
            done = subprocess.run(
                [*within, "bash", "-c", command], env={**clean, **own, **more}, cwd=place / "work", timeout=240,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            return done.returncode, done.stdout

        yield called


@pytest.fixture(scope="module")
def cluster(place, call):
    """The head has its files in the small file system; the node sees another folder of runs, and has other faults."""
    start = "--disable-usage-stats --num-cpus=1"
    head = f"ray start --head --port=6379 --dashboard-host=127.0.0.1 --temp-dir={place}/small {start} {LABEL}"
    code, said = call(f"{head} --object-store-memory=100000000")
    assert code == 0, said
    node = f"mount -t tmpfs none {place}/shared && exec ray start --address={HEAD}:6379 {start} {LABEL}"
    small = f"{node} --num-gpus=99 --object-store-memory=80000000"
    code, said = call(f"unshare --mount bash -c '{small}'", PYTHONPATH=f"{place}/modules:{ROOT}")
    assert code == 0, said


@contextmanager
def filled(place, left):
    """With so many bytes left for Ray's files, of 300 MiB."""
    file = place / "small" / "filled"
    with open(file, "wb") as taken, suppress(OSError):
        os.posix_fallocate(taken.fileno(), 0, shutil.disk_usage(place / "small").free - left)
    try:
        yield
    finally:
        file.unlink()


def test_the_doctor_finds_each_fault_and_says_what_to_do(place, call, cluster):
    """Four vectors of 100,000 times 75 parameters are 120 MB."""
    settings = "--scaling.on_party_nodes=true --agents.partition.num_parts=2 --task.net.hidden=[100000]"
    with filled(place, left=9 << 20):
        code, said = call(f"raycollab doctor --address {HEAD}:6379 --run.dir={place}/shared {settings}")
    assert code == 1, said
    found = dict(re.findall(r"^!!  (.*?): (.*\n    to do: .*)\n", said, re.MULTILINE))
    expected = {
        "torch": "0.0.1 on 10.77.0.1",
        "clocks": rf"10\.77\.0\.1 \+{AHEAD_S}\.\d s",
        "token's file": r"others can read it on 10\.77\.0\.1 \(644\)",
        "GPUs": r"10\.77\.0\.1 has 99, torch sees \d+",
        "disk of Ray's files": r"full on 10\.77\.0\.1 \d+%",
        "storage": r"10\.77\.0\.1: cannot read .*",
        "labels raycollab.io/party": r"held by more than one node: party-0 on 10\.77\.0\.1, 10\.77\.0\.1",
        "object store": r"10\.77\.0\.1 80 MB.*; 4 vectors of the model take \d+ MB",
    }
    assert set(found) == set(expected), said
    for what, words in expected.items():
        assert re.search(words, found[what]), found[what]
    assert "ok  token: asked for by every node" in said
    assert not list((place / "shared").iterdir())


def test_a_job_where_the_disk_of_the_head_is_full_ends_with_the_cause_in_seconds(place, call, cluster):
    (place / "work" / "my.txt").write_text("a part of the working folder")
    with filled(place, left=0):
        start = time.monotonic()
        code, said = call(f"raycollab submit --address http://localhost:8265 --run.dir={place}/shared")
        seconds = time.monotonic() - start
    assert code == 1, said
    assert "disk may be full" in said
    assert seconds < 60


def test_a_run_where_the_disk_is_full_ends_with_the_cause_in_seconds(place, call, cluster):
    with filled(place, left=0):
        start = time.monotonic()
        code, said = call(f"raycollab run --address {HEAD}:6379 --run.dir={place}/shared --failure.start_timeout_s=90")
        seconds = time.monotonic() - start
    assert code == 1, said
    assert "the disk with Ray's files is 100% full here: free space" in said
    assert seconds < 120


def test_the_doctor_sees_a_disk_so_full_that_no_process_starts(place, call, cluster):
    with filled(place, left=0):
        code, said = call(f"raycollab doctor --address {HEAD}:6379")
    assert code == 1, said
    assert re.search(r"!!  disk of Ray's files: full on 10\.77\.0\.1 100%\n    to do: free space there", said), said
    assert "has room" not in said
