"""What stands in cluster/ is accepted by what reads it, and its mistakes are not."""

import json
import subprocess
import sys
import tomllib
from copy import deepcopy
from pathlib import Path

import jsonschema
import pytest
import yaml

CLUSTER = Path(__file__).parents[2] / "cluster"
LAUNCHERS = sorted((CLUSTER / "launcher").glob("*.yaml"))
MANIFESTS = sorted((CLUSTER / "kuberay").glob("*.yaml"))
KUBERAY = json.loads(Path(__file__).with_name("kuberay.json").read_text())
PARTY = "raycollab.io/party"
BIN = Path(sys.executable).parent

launchers = pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.stem)
manifests = pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)


def accepted(launcher):
    """As `ray up` reads it."""
    from ray.autoscaler._private.util import prepare_config, validate_config  # costs a second

    validate_config(prepare_config(launcher))


def complaints(manifest):
    kind = {"$ref": f"#/definitions/{manifest['kind']}", "definitions": KUBERAY["definitions"]}
    return [error.message for error in jsonschema.Draft7Validator(kind).iter_errors(manifest)]


def manifest_of(path):
    """The first document: KubeRay's."""
    return next(yaml.safe_load_all(path.read_text()))


def cluster_of(manifest):
    return manifest["spec"].get("rayClusterSpec", manifest["spec"])


def test_there_is_one_for_each_place():
    assert [path.stem for path in LAUNCHERS] == ["aws", "gcp", "on-prem"]
    assert [path.stem for path in MANIFESTS] == ["raycluster", "rayjob"]


@launchers
def test_a_launcher_file_is_one_that_ray_accepts_and_with_a_slip_it_is_not(path):
    launcher = yaml.safe_load(path.read_text())
    accepted(deepcopy(launcher))
    with pytest.raises(jsonschema.ValidationError, match="setup_comands"):
        accepted({**launcher, "setup_comands": []})


@launchers
def test_a_launcher_asks_for_the_token_and_keeps_the_dashboard_to_the_head(path):
    launcher = yaml.safe_load(path.read_text())
    assert launcher["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert launcher["setup_commands"][0] == "chmod 600 ~/.ray/auth_token"
    head, worker = launcher["head_start_ray_commands"], launcher["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token" in command for command in (*head, *worker))
    assert "--dashboard-host=127.0.0.1" in head[-1]
    assert "0.0.0.0" not in path.read_text()


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_each_party_has_a_node_type_of_its_own_and_the_head_is_no_spot_instance(name):
    launcher = yaml.safe_load((CLUSTER / "launcher" / f"{name}.yaml").read_text())
    types = launcher["available_node_types"]
    parties = [kind["labels"][PARTY] for key, kind in types.items() if key != launcher["head_node_type"]]
    assert sorted(parties) == ["north", "south"]
    spot = [key for key, kind in types.items() if "spot" in json.dumps(kind["node_config"]).lower()]
    assert spot == ["south-spot"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["north"]["resources"]["GPU"] == 1


def test_machines_of_ones_own_say_themselves_whose_they_are():
    launcher = yaml.safe_load((CLUSTER / "launcher" / "on-prem.yaml").read_text())
    assert "--labels-file=/etc/raycollab/labels.yaml" in launcher["worker_start_ray_commands"][-1]


def test_machines_of_ones_own_install_the_package_that_was_built_here():
    """By the name that `pip wheel` gives it, and the Ray that the image has."""
    launcher = yaml.safe_load((CLUSTER / "launcher" / "on-prem.yaml").read_text())
    version = tomllib.loads((CLUSTER.parent / "pyproject.toml").read_text())["project"]["version"]
    wheel = f"raycollab-{version}-py3-none-any.whl"
    assert launcher["file_mounts"][f"~/{wheel}"] == f"dist/{wheel}"
    ray = next(line for line in (CLUSTER / "Dockerfile").read_text().splitlines() if line.startswith("ARG RAY="))
    assert launcher["setup_commands"][-1].endswith(f'"ray[default,tune]=={ray.partition("=")[2]}" ~/{wheel}')


@manifests
def test_a_manifest_is_one_that_kuberay_accepts(path):
    assert complaints(manifest_of(path)) == []


@manifests
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda cluster: cluster.update(workerGroupSpec=[]), "'workerGroupSpec' was unexpected"),
        (lambda cluster: cluster["authOptions"].update(mode="tokn"), "'tokn' is not one of"),
        (lambda cluster: cluster["workerGroupSpecs"][0].update(replicas="1"), "'1' is not of type 'integer'"),
        (lambda cluster: cluster["autoscalerOptions"].update(version="v3"), "'v3' is not one of"),
        (lambda cluster: cluster["headGroupSpec"].pop("template"), "'template' is a required property"),
    ],
)
def test_a_manifest_with_a_slip_is_not(path, change, complaint):
    manifest = deepcopy(manifest_of(path))
    change(cluster_of(manifest))
    assert any(complaint in each for each in complaints(manifest))


@manifests
def test_a_group_is_a_party_on_nodes_of_its_own(path):
    """Ray's label and Kubernetes' name the same party; nobody else mounts its data."""
    cluster = cluster_of(manifest_of(path))
    for group in cluster["workerGroupSpecs"]:
        party, pod = {PARTY: group["groupName"]}, group["template"]["spec"]
        assert group["labels"] == pod["nodeSelector"] == party
        assert {volume["name"] for volume in pod["volumes"]} == {"runs", "data"}
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "data" not in {volume["name"] for volume in head["template"]["spec"]["volumes"]}
    assert cluster["authOptions"] == {"mode": "token", "secretName": "raycollab-token"}
    assert (cluster["enableInTreeAutoscaling"], cluster["autoscalerOptions"]["version"]) == (True, "v2")


@manifests
def test_run_folders_are_on_storage_that_all_nodes_share(path):
    _, claim = yaml.safe_load_all(path.read_text())
    assert (claim["kind"], claim["spec"]["accessModes"]) == ("PersistentVolumeClaim", ["ReadWriteMany"])
    cluster = cluster_of(manifest_of(path))
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (runs,) = [each for each in group["template"]["spec"]["volumes"] if each["name"] == "runs"]
        assert runs["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def lint(tool, path):
    program = BIN / tool
    if not program.exists():
        pytest.skip(f"{tool} is not installed: pip install -e '.[dev]'")
    return subprocess.run([program, path], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("tool", "path"), [("shellcheck", "slurm.sh"), ("hadolint", "Dockerfile")])
def test_scripts_have_nothing_that_their_linter_knows_better(tool, path):
    done = lint(tool, CLUSTER / path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("tool", "text", "said"),
    [("shellcheck", "#!/bin/bash\nrm $1\n", "SC2086"), ("hadolint", "FROM debian\n", "DL3006")],
)
def test_the_linters_see_what_is_wrong(tmp_path, tool, text, said):
    (tmp_path / "bad").write_text(text)
    assert said in lint(tool, tmp_path / "bad").stdout


def test_the_image_names_ray_python_and_cuda():
    lines = (CLUSTER / "Dockerfile").read_text().splitlines()
    given = dict(line.removeprefix("ARG ").split("=") for line in lines if line.startswith("ARG "))
    assert given == {"RAY": "2.60.0", "PYTHON": "py311", "CUDA": "cu130"}
    assert "FROM rayproject/ray:${RAY}-${PYTHON}-${CUDA}" in lines
    assert f"ray=={given['RAY']}" in (CLUSTER.parent / "constraints.txt").read_text().splitlines()


def test_prometheus_reads_the_nodes_that_ray_lists():
    (job,) = yaml.safe_load((CLUSTER / "prometheus.yml").read_text())["scrape_configs"]
    assert job["file_sd_configs"][0]["files"] == ["/tmp/ray/prom_metrics_service_discovery.json"]
