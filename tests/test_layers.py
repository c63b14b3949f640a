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
    "vectors": 1,
    "norms": 2,
    "places": 0,
    "rng": 0,
    "tree": 0,
    "by_name": 1,
    "config": 1,
    "metrics": 1,
    "overrides": 1,
    "recipe": 1,
    "schedules": 2,
    "codecs": 2,
    "selection": 2,
    "spec": 1,
    "storage": 1,
    "tables": 1,
    "checkpoint": 2,
    "commands": 1,
    "announcement": 3,
    "beginning": 2,
    "data": 2,
    "models": 2,
    "optimizers": 2,
    "params": 2,
    "types": 2,
    "misfit": 2,
    "fused": 3,
    "aggregation": 3,
    "modes": 3,
    "report": 3,
    "task": 3,
    "transforms": 3,
    "quality": 4,
    "shared_set": 4,
    "validation": 5,
    "stopping": 2,
    "journal": 3,
    "chains": 4,
    "own_part": 3,
    "deploy": 4,
    "adapting": 5,
    "learners": 4,
    "tasks": 4,
    "checks": 3,
    "turn": 4,
    "agent": 5,
    "meta": 5,
    "result": 5,
    "attacks": 6,
    "callbacks": 6,
    "population": 6,
    "runtime": 6,
    "catalog": 7,
    "mistakes": 8,
    "experiment": 7,
    "roster": 7,
    "speed": 8,
    "episode_speed": 8,
    "collecting": 8,
    "durability": 8,
    "membership": 8,
    "evaluation": 3,
    "driver": 9,
    "experiment_file": 9,
    "exporting": 5,
    "onnx_export": 4,
    "conduct": 10,
    "driver_actor": 11,
    "on_ray": 12,
    "fitting": 13,
    "stages": 14,
    "control": 13,
    "survey": 8,
    "sweeps": 14,
    "verify": 14,
    "cluster_commands": 14,
    "model_commands": 14,
    "jobs": 7,
    "doctor": 8,
    "cli": 15,
    "__main__": 16,
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
    "raycollab.sweeps.choosing",
    "raycollab.sweeps.sweep",
    "raycollab.sweeps.trial",
    "raycollab.runtime.telemetry",
    "raycollab.runtime.slice_actors",
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
