"""No module unpickles, evaluates text, or hands anything to a shell; with the known-bad beside the good."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "raycollab"
MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "subprocess", "pty"}
CALLS = {"eval", "exec", "system", "popen", "unsafe_load", "full_load"}


def dangers(source):
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [each.name for each in names if each.name.split(".")[0] in MODULES]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in MODULES:
                found.append(module)
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                found.append(name)
            case ast.Call(func=ast.Attribute(attr=name, value=ast.Name(id="os" | "yaml"))) if name in CALLS | {"load"}:
                found.append(name)
            case ast.Call(func=ast.Attribute(attr="load", value=ast.Name(id="torch" | "joblib" | "np"))):
                found.append("load")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_does_none_of_it(path):
    assert dangers(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from subprocess import run", "eval(x)", "os.system(x)", "yaml.load(x)", "torch.load(x)"],
)
def test_what_it_would_find(source):
    assert dangers(source)
    assert dangers("yaml.safe_load(x); safetensors.torch.load(y); model.eval(); re.compile(z)") == []
