"""Imports point down only: the table of floors, and who may import what from outside."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "raycollab"

# A folder is one unit: its files may import each other, without circles. Units of one floor do not.
FLOORS = {
    "errors": 0,
    "interruption": 0,
    "signals": 0,
    "determinism": 0,
    "keys": 2,
    "digests": 3,
    "ledger": 4,
    "bookkeeping": 5,
    "recomputing": 10,
    "contribution": 1,
    "common": 9,
    "growth": 5,
    "guard": 3,
    "audit_commands": 16,
    "vectors": 2,
    "norms": 3,
    "places": 0,
    "rng": 0,
    "tree": 0,
    "by_name": 2,
    "settings": 1,
    "config": 2,
    "metrics": 2,
    "overrides": 2,
    "recipe": 2,
    "schedules": 3,
    "codecs": 3,
    "selection": 3,
    "labels": 2,
    "spec": 2,
    "storage": 2,
    "tables": 2,
    "checkpoint": 3,
    "commands": 2,
    "announcement": 4,
    "beginning": 3,
    "data": 3,
    "fusion": 2,
    "privacy": 3,
    "models": 3,
    "optimizers": 3,
    "params": 3,
    "types": 3,
    "misfit": 3,
    "fused": 4,
    "aggregation": 4,
    "modes": 4,
    "report": 4,
    "task": 4,
    "transforms": 4,
    "quality": 5,
    "shared_set": 5,
    "validation": 6,
    "stopping": 4,
    "journal": 4,
    "chains": 5,
    "secure": 5,
    "own_model": 0,
    "own_part": 4,
    "own_scores": 5,
    "personal": 6,
    "alone": 9,
    "deploy": 5,
    "adapting": 6,
    "learners": 5,
    "tasks": 5,
    "checks": 4,
    "offer": 5,
    "turn": 5,
    "agent": 6,
    "meta": 6,
    "adapt": 6,
    "memory": 4,
    "withholding": 4,
    "predicting": 6,
    "result": 6,
    "attacks": 7,
    "callbacks": 7,
    "population": 7,
    "runtime": 7,
    "catalog": 8,
    "mistakes": 9,
    "continuation": 3,
    "compatibility": 7,
    "parts": 7,
    "exposure": 6,
    "experiment": 8,
    "roster": 8,
    "speed": 9,
    "episode_speed": 9,
    "collecting": 9,
    "durability": 9,
    "membership": 9,
    "evaluation": 4,
    "driver": 10,
    "experiment_file": 10,
    "exporting": 6,
    "onnx_export": 5,
    "conduct": 11,
    "driver_actor": 12,
    "on_ray": 13,
    "fitting": 14,
    "stages": 15,
    "comparing": 15,
    "control": 14,
    "survey": 9,
    "sweeps": 15,
    "verify": 15,
    "vertical": 14,
    "cluster_commands": 15,
    "model_commands": 16,
    "jobs": 8,
    "doctor": 9,
    "cli": 17,
    "__main__": 18,
}
NO_FLOOR = "__init__"  # raycollab itself: names only, imported when they are first used

RAY = {
    "raycollab.control",
    "raycollab.doctor",
    "raycollab.driver_actor",
    "raycollab.jobs",
    "raycollab.on_ray",
    "raycollab.runtime.actors",
    "raycollab.runtime.placement",
    "raycollab.runtime.packed_host",
    "raycollab.runtime.ray_hosts",
    "raycollab.runtime.ray_pool",
    "raycollab.runtime.ray_survey",
    "raycollab.runtime.ray_work",
    "raycollab.runtime.reaching",
    "raycollab.sweeps.choosing",
    "raycollab.sweeps.population",
    "raycollab.sweeps.room",
    "raycollab.sweeps.sweep",
    "raycollab.sweeps.trial",
    "raycollab.runtime.telemetry",
    "raycollab.runtime.slice_actors",
    "raycollab.vertical.ray_sides",
}


@cache
def modules():
    """Every module of the package: what it imports anywhere in its code, and what it imports late, by its name."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names[".".join(parts).removesuffix(".__init__")] = path
    return {name: (imports(path.read_text(), names), late_imports(path.read_text())) for name, path in names.items()}


def imports(source, known):
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports are not used"
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & set(known)
            found |= inside or {node.module}
    return found


def late_imports(source):
    """The modules in calls of import_module("..."): they point down as well."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    called = [(getattr(call.func, "attr", getattr(call.func, "id", "")), call.args[0]) for call in calls]
    return {arg.value for name, arg in called if name == "import_module" and isinstance(arg, ast.Constant)}


def unit(module):
    return module.split(".")[1] if "." in module else NO_FLOOR


def ours(found):
    return sorted(name for name in found if name.split(".")[0] == "raycollab")


def wrong_way(module, found, floors):
    """What a module imports that does not stand on a lower floor."""
    mine = unit(module)
    others = [name for name in ours(found) if unit(name) not in (mine, NO_FLOOR)]
    return [name for name in others if floors[unit(name)] >= floors[mine]]


def circle(graph):
    """A circle in a graph of names to sets of names, as a list; empty if there is none."""
    done = set()

    def walk(name, path):
        if name in path:
            return path[path.index(name) :]
        if name not in done:
            for other in sorted(graph[name]):
                if found := walk(other, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


def test_every_module_is_in_the_table_and_the_table_holds_nothing_else():
    assert {unit(name) for name in modules()} - {NO_FLOOR} == set(FLOORS)


@pytest.mark.parametrize("module", [name for name in modules() if unit(name) != NO_FLOOR])
def test_imports_point_down(module):
    assert wrong_way(module, set.union(*modules()[module]), FLOORS) == []


def test_the_package_itself_imports_nothing():
    assert ours(set.union(*modules()["raycollab"])) == ["raycollab.deploy"]  # `raycollab.load`, when it is first used


def test_no_circles_inside_a_folder():
    for folder in {unit(name) for name in modules() if name.count(".") > 1}:
        inside = {name for name in modules() if unit(name) == folder}
        assert circle({name: modules()[name][0] & inside for name in inside}) == []


def test_ray_stands_at_the_edge():
    """The edge may shrink: what needs no ray any more is taken off the list."""
    used = {
        name for name, (found, late) in modules().items() if any(each.split(".")[0] == "ray" for each in found | late)
    }
    assert used == RAY


def test_the_checks_see_what_is_wrong():
    """Each known-bad source beside the rule that it breaks."""
    known = {"raycollab.task": None, "raycollab.learners": None, "raycollab.aggregation.mean": None}
    upward = imports("def f():\n    from raycollab import task\n", known)
    assert wrong_way("raycollab.params", upward, FLOORS) == ["raycollab.task"]
    sideways = imports("import raycollab.learners", known)
    assert wrong_way("raycollab.tasks.classification", sideways, FLOORS) == ["raycollab.learners"]
    assert wrong_way("raycollab.agent", sideways, FLOORS) == []
    late = late_imports("def f():\n    import_module('raycollab.task').g()\n    importlib.import_module('ray', x)\n")
    assert late == {"raycollab.task", "ray"}
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def loaded_after(statement):
    code = f"import sys; {statement}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import raycollab; dir(raycollab)", {"torch", "ray", "numpy", "pyarrow", "yaml", "rich"}),
        ("import raycollab.config, raycollab.errors, raycollab.recipe", {"torch", "ray", "numpy", "pyarrow"}),
        ("import raycollab.rng", {"torch", "ray", "pyarrow"}),
    ],
)
def test_what_costs_nothing_to_import(statement, absent):
    assert absent.isdisjoint(loaded_after(statement))
