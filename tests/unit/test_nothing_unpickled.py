"""No code of ours loads objects that can run code: no pickle in any form, no evaluation of texts."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.celery_app import make_app
from services.settings import Settings

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "services", "orchestrator", "workers")
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
# yaml.load without a safe loader, torch.load, numpy.load and pandas.read_pickle unpickle; `safe_load` is another name.
CALLS = {("torch", "load"), ("np", "load"), ("numpy", "load"), ("yaml", "load"), ("yaml", "unsafe_load")}
CALLS |= {("yaml", "full_load"), ("pd", "read_pickle")}
BUILTINS = {"eval", "exec", "compile"}


def files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def found(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
            yield node.func.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and (owner.id, node.func.attr) in CALLS:
                loader = {keyword.arg for keyword in node.keywords if keyword.arg == "Loader"}
                if (owner.id, node.func.attr) != ("yaml", "load") or not loader:
                    yield f"{owner.id}.{node.func.attr}"
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield "allow_pickle"


def test_no_module_of_ours_unpickles_or_evaluates() -> None:
    assert files()
    assert {str(path.relative_to(ROOT)): names for path in files() if (names := list(found(path)))} == {}


@pytest.mark.parametrize("code", ["import pickle", "from dill import load", "eval(x)", "torch.load(x)", "yaml.load(x)"])
def test_the_search_finds_them(tmp_path: Path, code: str) -> None:
    path = tmp_path / "a.py"
    path.write_text(code)
    assert list(found(path))


def test_celery_takes_json_alone() -> None:
    conf = make_app(Settings()).conf
    assert (list(conf.accept_content), conf.task_serializer) == (["json"], "json")
    assert conf.result_accept_content is None
    assert not conf.worker_enable_remote_control
