"""What is refused before anything is sent; jobs on a real head are in tests/e2e."""

import shlex
import socket
from types import SimpleNamespace

import pytest
import ray

from raycollab import jobs
from raycollab.cluster_commands import _asked
from raycollab.errors import ClusterError, ConfigError
from raycollab.jobs import Jobs, check_size, explained, is_dashboard, read_environment, sent
from raycollab.runtime.placement import _explained


class Client:
    """Stands in for Ray's: takes whatever is submitted."""

    def __init__(self, version=ray.__version__):
        self._server_ray_version, self.taken = version, {}

    def submit_job(self, **asked):
        self.taken = asked
        return "job-1"


@pytest.mark.parametrize(
    ("address", "does"),
    [("http://h:8265", True), ("https://h", True), ("h:6379", False), ("ray://h:1", False), (None, False)],
)
def test_what_is_a_dashboard(address, does):
    assert is_dashboard(address) == does


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "ray://10.0.0.1:10001", ""])
def test_jobs_need_a_dashboard(monkeypatch, address):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=r"jobs go to the dashboard of the cluster's head, http://HOST:8265"):
        Jobs.at(address)


def test_a_head_without_a_dashboard_does_not_answer():
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ClusterError, match=r"nobody answers there.*started with the dashboard.*ssh -L 8265"):
            Jobs.at(f"http://127.0.0.1:{taken.getsockname()[1]}")


def test_a_cluster_of_another_ray_is_refused(monkeypatch):
    monkeypatch.setattr(jobs, "knock", lambda address, remedy: None)
    monkeypatch.setattr(jobs, "JobSubmissionClient", lambda address: Client("2.52.1"))
    with pytest.raises(ClusterError, match=r"it runs Ray 2\.52\.1, and this machine .*ray\[default,tune\]==2\.52\.1"):
        Jobs.at("http://h:8265")


def test_a_node_of_another_ray_or_python_is_explained():
    """Ray's own words, on more lines than one."""
    error = RuntimeError(
        "Version mismatch: The cluster was started with:\n    Ray: 2.52.1\n    Python: 3.12.3\nThis ..."
    )
    said = _explained("h:6379", error)
    assert "The cluster was started with: Ray: 2.52.1 Python: 3.12.3" in said
    assert "Ray and Python, up to its minor version, must be the same everywhere" in said


@pytest.mark.parametrize(
    ("said", "gist"),
    [
        (
            "code 500: Traceback (most recent call last):\n  File ...\nOSError: No space left\n.",
            "code 500: OSError: No sp",
        ),
        ("\nNo connection.\nMore of it.", "No connection.; look"),
        ("", "RuntimeError; look"),
    ],
)
def test_what_goes_wrong_at_the_head_is_said_in_a_line(said, gist):
    with pytest.raises(ClusterError, match=f"at http://h:8265: {gist}"), explained("http://h:8265"):
        raise RuntimeError(said)


NASTY = ["run", "a b.yaml", "--run.dir=/x/$(touch pwned)", "--run.name=`id`", "--x='; rm -rf /; '", "--y=\n|&>"]


def test_a_shell_reads_none_of_the_arguments():
    """What starts the job takes each apart again as it was."""
    client = Client()
    Jobs("http://h", client).submit(NASTY, runtime_env={})
    assert shlex.split(client.taken["entrypoint"]) == ["python", "-m", "raycollab", *NASTY]


def test_what_is_sent_with_a_job(tmp_path):
    client = Client()
    environment = {"env_vars": {"A": "1"}, "pip": ["x"]}
    Jobs("http://h", client).submit(["run"], working_dir=str(tmp_path), runtime_env=environment)
    sent = client.taken["runtime_env"]
    assert sent == {
        "env_vars": {"A": "1", "RAY_JOB_STOP_WAIT_TIME_S": "60"}, "pip": ["x"], "working_dir": str(tmp_path),
    }  # fmt: skip
    assert environment == {"env_vars": {"A": "1"}, "pip": ["x"]}


def test_a_folder_that_is_too_large_is_refused_with_its_largest_parts(tmp_path, monkeypatch):
    """What Ray does not send does not count; 3 MB are more than the 2 MB that are allowed here."""
    monkeypatch.setattr(jobs, "_MOST_SENT", 2_000_000)
    for place, size in (("data/a.bin", 1_900_000), ("code.py", 1_000), (".git/x", 9_000_000), ("runs/y", 9_000_000)):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(bytes(size))
    (tmp_path / ".rayignore").write_text("runs/\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    check_size(tmp_path)
    (tmp_path / "data" / "b.bin").write_bytes(bytes(1_100_000))
    with pytest.raises(ConfigError, match=r"3 MB would be sent, of which data 3 MB, code\.py 0 MB.*\.rayignore"):
        Jobs("http://h", Client()).submit(["run"], working_dir=str(tmp_path), runtime_env={})
    Jobs("http://h", Client()).submit(["run"], working_dir=str(tmp_path), runtime_env={"excludes": ["data/"]})


def test_an_environment_that_ray_does_not_take():
    class Refusing(Client):
        def submit_job(self, **asked):
            raise TypeError("pip must be a list")

    with pytest.raises(ConfigError, match="runtime-env: pip must be a list; it takes what Ray's runtime_env takes"):
        Jobs("http://h", Refusing()).submit(["run"], runtime_env={"pip": 3})


def test_an_experiment_is_called_by_its_place_in_the_folder(tmp_path, monkeypatch):
    (tmp_path / "work" / "deep").mkdir(parents=True)
    for file in ("work/deep/my.yaml", "outside.yaml"):
        (tmp_path / file).write_text("")
    monkeypatch.chdir(tmp_path / "work")
    assert sent("deep/my.yaml", ".") == sent(f"{tmp_path}/work/deep/my.yaml", ".") == "deep/my.yaml"
    assert sent("s3://bucket/my.yaml", ".") == "s3://bucket/my.yaml"
    assert sent("/only/there.yaml", ".") == "/only/there.yaml"
    with pytest.raises(ConfigError, match="it is not in the folder that is sent"):
        sent("../outside.yaml", ".")


@pytest.mark.parametrize("text", ["- a\n", "just text", "a: [\n", None])
def test_an_environment_that_is_none(tmp_path, text):
    if text is not None:
        (tmp_path / "env.yaml").write_text(text)
    with pytest.raises(ConfigError, match="runtime-env="):
        read_environment(str(tmp_path / "env.yaml"))
    assert read_environment(None) == {}


@pytest.mark.parametrize(("answer", "choice"), [("y\n", "stop"), ("\n", "leave"), ("no\n", "leave"), ("", "leave")])
def test_only_a_terminal_is_asked(monkeypatch, capsys, answer, choice):
    def terminal(is_one):
        return SimpleNamespace(
            isatty=lambda: is_one, readline=lambda: answer, write=lambda text: None, flush=lambda: None
        )

    monkeypatch.setattr("raycollab.cluster_commands.sys", SimpleNamespace(stdin=terminal(True), stdout=terminal(True)))
    assert _asked("job-1") == choice
    monkeypatch.setattr("raycollab.cluster_commands.sys", SimpleNamespace(stdin=terminal(False), stdout=terminal(True)))
    assert _asked("job-1") == "leave"
