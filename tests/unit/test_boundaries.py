"""The lines that the code must not cross: who imports what, and how long things get."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows.local.s3 import embedded_s3
from tasks.domain.error_documents import all_errors

ROOT = Path(__file__).parents[2]
PACKAGES = ("flows", "tasks", "agents")
HEAVY = ("tensorflow", "keras", "tf2onnx", "tensorrt", "tensorrt_rtx", "pycuda", "onnxruntime", "matplotlib")
LONGEST_FILE = 400
LONGEST_FUNCTION = 30

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# Runs in a fresh interpreter: blocks the heavy packages, then imports every module that it is given.
IMPORT_ALL = """
import importlib, json, sys
modules, heavy = json.loads(sys.stdin.read())
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in heavy:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
failed = {}
for module in modules:
    try:
        importlib.import_module(module)
    except ImportError as error:
        failed[module] = str(error)
print(json.dumps(failed))
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runs_in_a_child(path: Path) -> bool:
    folders = {"inside", "rewrites", "quantise"}
    return path.stem.endswith("_child") or path.stem == "child" or not folders.isdisjoint(path.parts)


def test_only_what_runs_in_children_needs_the_heavy_packages() -> None:
    script = ROOT / "flows/demo_release/train.py"
    modules = [module_name(path) for path in SOURCES if not runs_in_a_child(path) and path != script]
    assert "tasks.tensorflow.models" in modules
    answer = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        input=json.dumps([modules, HEAVY]), capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert json.loads(answer.stdout.splitlines()[-1]) == {}


def test_the_block_really_blocks() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        input=json.dumps([["onnxruntime"], HEAVY]), capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert json.loads(answer.stdout) == {"onnxruntime": "onnxruntime is blocked"}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_ours_wherever_it_is_imported(package: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import {package}; print({package}.__file__)"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert Path(answer.stdout.strip()).parent == ROOT / package


def test_a_process_of_ours_takes_no_module_from_the_folder_it_starts_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A team that uses Prefect has a folder `flows` of its own."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/__init__.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    with embedded_s3() as url:
        assert url
    started = re.compile(r'(?:"(-P)", )?"-m", "')
    unsafe = [path.name for path in SOURCES if "" in started.findall(path.read_text("utf-8"))]
    assert unsafe == []


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def test_files_stay_short() -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in (*SOURCES, *TESTS)}
    assert {str(path): count for path, count in lines.items() if count > LONGEST_FILE} == {}


def test_functions_stay_short() -> None:
    long = {
        f"{module_name(path)}.{node.name}": _code_lines(node)
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if _code_lines(node) > LONGEST_FUNCTION
    }
    assert long == {}


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_nothing_is_decided_by_the_text_of_a_message() -> None:
    """Classes and documents of errors decide; messages of states and names of classes are for people."""
    names = {cls.__name__ for cls in all_errors()}
    decided = [
        f"{module_name(path)}: {ast.unparse(comparison)}"
        for path in SOURCES
        for comparison in ast.walk(tree(path))
        if isinstance(comparison, ast.Compare)
        if any(_is_of_a_message(node, names) for node in ast.walk(comparison))
    ]
    assert decided == []


def test_all_texts_on_pages_go_through_the_module_that_escapes_them() -> None:
    makers = {
        "create_markdown_artifact",
        "create_table_artifact",
        "create_link_artifact",
        "create_image_artifact",
    }
    makers |= {f"a{name}" for name in makers}
    users = {
        module_name(path)
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and makers & {alias.name for alias in node.names}
    }
    assert users == {"tasks.page"}


def _is_of_a_message(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in {"__name__", "class_name", "message"}
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return any(name in text for name in names)


# An error is raised with `found`, and the demo's document has it, too.
_FOUND = {"tasks.domain.errors", "agents.server.away", "flows.local.processes", "flows.cli.demo"}


def test_names_say_what_they_hold() -> None:
    """Nobody can search for `one`, `found` or `told`, and they say nothing."""
    vague = {}
    for path in (*SOURCES, *TESTS):
        allowed = {"found"} if module_name(path) in _FOUND else set()
        if names := (_bound(tree(path)) & {"one", "found", "told"}) - allowed:
            vague[module_name(path)] = names
    assert vague == {}


def _bound(module: ast.Module) -> set[str]:
    """Return the names of arguments and of what is assigned in `module`."""
    return {
        node.arg if isinstance(node, ast.arg) else node.id
        for node in ast.walk(module)
        if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    }


def test_what_is_looked_for_is_found() -> None:
    """The checks themselves: each must fail on what it is for."""
    wrong = ast.parse("def read(one):\n    found = one.state.message == 'x' or 'BuildRefused' in one.text\n")
    assert _bound(wrong) == {"one", "found"}
    (first, second) = (node for node in ast.walk(wrong) if isinstance(node, ast.Compare))
    for comparison in (first, second):
        assert any(_is_of_a_message(node, {"BuildRefused"}) for node in ast.walk(comparison))
    assert _code_lines(ast.parse('def f():\n    """A."""\n    return 1').body[0]) == 2  # type: ignore[arg-type]
