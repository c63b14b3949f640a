"""The recipe of cluster/README.md for TLS, as it stands there: who has a certificate is let in, who has none is not."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "cluster" / "README.md"
LINE = re.compile(r"openssl (req|x509) .*|  -extfile .*|export RAY_\w+=.*")  # nothing else of a README is run
WORKED = """
import ray

ray.init(address="{}", log_to_driver=False)
print(ray.get(ray.remote(lambda: "worked").remote()))
"""
REFUSED = "Failed to connect to GCS"
PORT = 24_637 + os.getpid() % 1000

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.cluster]


def recipe():
    """The block of the README that makes certificates."""
    blocks = re.findall(r"^```\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    (found,) = [block for block in blocks if block.startswith("openssl req")]
    assert all(LINE.fullmatch(line) for line in found.splitlines()), found
    return found


def made(folder):
    """Follow the recipe in a folder; returns the variables that it exports."""
    script = f"{recipe()}\nenv | grep ^RAY_TLS && env | grep ^RAY_USE_TLS"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(["bash", "-euc", script], cwd=folder, env=clean, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.split() if line.startswith("RAY_"))


@pytest.fixture(scope="module")
def surroundings():
    """The environment of whoever has the token, without TLS and with it; Ray's sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="rt-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.mkdir(f"{folder}/ray")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        own = {"HOME": folder, "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "cd" * 32}
        plain = {**clean, **own}
        yield plain, plain | made(folder)


@pytest.fixture(scope="module")
def address(surroundings):
    """A head with TLS, under the address that other machines know it by, which stands in its certificate."""
    from ray.util import get_node_ip_address  # costs a second

    found = f"{get_node_ip_address()}:{PORT}"
    arguments = (
        f"start --head --block --port={PORT} --num-cpus=1 --include-dashboard=false --disable-usage-stats "
        f"--object-store-memory=100000000"
    )
    command = [Path(sys.executable).parent / "ray", *arguments.split()]
    process = subprocess.Popen(command, env=surroundings[1], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while attached(found, surroundings[1], 30).returncode:
            assert process.poll() is None, "the head has ended"
            assert time.monotonic() < deadline, "nobody can attach"
        yield found
    finally:
        for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            member.kill()
        process.wait(timeout=60)


def attached(address, environment, timeout_s=15):
    """Run a task on the cluster; whoever is refused would try for a minute."""
    command = ["timeout", "--signal=KILL", str(timeout_s), sys.executable, "-c", WORKED.format(address)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_who_has_a_certificate_of_the_authority_is_let_in(surroundings, address):
    done = attached(address, surroundings[1], 60)
    assert "worked" in done.stdout, done.stderr


def asked(address, environment):
    """`raycollab status` of the cluster: whether it was done, and what was said."""
    command = [sys.executable, "-m", "raycollab", "status", f"--address={address}"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_raycollab_is_let_in_as_ray_is_and_says_what_is_missing(surroundings, address):
    plain, with_tls = surroundings
    code, said = asked(address, with_tls)
    assert (code, "no runs" in said) == (0, True), said
    code, said = asked(address, plain)
    assert (code, "RAY_USE_TLS and certificates that the head was started with" in said) == (1, True), said


def test_who_speaks_without_tls_is_not(surroundings, address):
    done = attached(address, surroundings[0])
    assert "worked" not in done.stdout
    assert REFUSED in done.stderr


def test_a_certificate_of_another_authority_is_not(surroundings, address, tmp_path):
    """Its owner followed the same recipe, trusts the same authority, and is not vouched for by it."""
    strange = made(tmp_path)
    kept = {"RAY_TLS_CA_CERT": surroundings[1]["RAY_TLS_CA_CERT"]}
    done = attached(address, {**surroundings[1], **strange, **kept})
    assert "worked" not in done.stdout
    assert REFUSED in done.stderr
