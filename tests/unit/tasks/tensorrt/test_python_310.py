"""What runs in a toolchain's interpreter keeps to Python 3.10, NumPy, TensorRT and pycuda."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.children.run import ChildProgram, Limits, run_child
from tasks.children.workspace import Workspace
from tasks.domain.errors import ToolchainBroken
from tasks.tensorrt.engine import EngineJob, build_engine
from tasks.tensorrt.toolchain import Toolchain

ROOT = Path(__file__).parents[4]
FILES = [
    *(ROOT / f"tasks/children/{name}.py" for name in ("entry", "arrays", "compare", "reference")),
    *(
        ROOT / f"tasks/domain/{name}.py"
        for name in ("attestation", "errors", "layers", "printable", "statistics")
    ),
    ROOT / "tasks/tensorrt/runner.py",
    ROOT / "tests/gpu/graph_trials.py",
    ROOT / "tests/gpu/refused_graphs.py",
    *sorted((ROOT / "tasks/tensorrt/inside").rglob("*.py")),
]
NEWER_THAN_310 = {"tomllib"}
ALLOWED = (set(sys.stdlib_module_names) - NEWER_THAN_310) | {"numpy", "pycuda"}
ALLOWED_OF_THE_FARM = (
    "tasks.domain.errors",
    "tasks.domain.layers",
    "tasks.domain.printable",
    "tasks.domain.digest",
    "tasks.domain.recorded_key",
    "tasks.domain.statistics",
    # Only where signatures are demanded, and with `cryptography`.
    "tasks.domain.attestation",
    "tasks.signing.signatures",
    "tasks.children.arrays",
    "tasks.children.compare",
    "tasks.children.disk",
    "tasks.children.reference",
)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_syntax_and_imports(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 10))
    for module in imported(tree):
        if module.partition(".")[0] == "tasks":
            assert module in ALLOWED_OF_THE_FARM or module.startswith("tasks.tensorrt.inside"), module
        else:
            assert module.partition(".")[0] in ALLOWED, module


def test_pycuda_is_imported_in_one_place() -> None:
    users = [path.stem for path in FILES if "pycuda.driver" in imported(ast.parse(path.read_text("utf-8")))]
    assert users == ["library"]


@pytest.fixture(scope="module")
def python_310() -> str:
    """An interpreter of version 3.10 that starts."""
    beside = Path(sys.base_prefix).parent.glob("3.10*/bin/python3.10")
    for path in (shutil.which("python3.10"), *map(str, beside)):
        if path is None:
            continue
        answer = subprocess.run(
            [path, "-c", "import sys; print(sys.version_info[:2])"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if answer.stdout.strip() == "(3, 10)":
            return path
    pytest.skip("no interpreter of Python 3.10 was found")


def test_probe_runs_there(python_310: str, tmp_path: Path, limits: Limits) -> None:
    program = ChildProgram(module="tasks.tensorrt.inside.probe", step="probe", interpreter=python_310)
    with pytest.raises(ToolchainBroken, match="no_such_tensorrt") as caught:
        asyncio.run(run_child(program, {"module": "no_such_tensorrt"}, workdir=tmp_path, limits=limits))
    assert "ModuleNotFoundError" in caught.value.found


def test_build_runs_there(
    python_310: str,
    job: Callable[..., EngineJob],
    conv_net: Callable[..., Path],
    tmp_path: Path,
    limits: Limits,
) -> None:
    """It has no TensorRT-RTX, and says so: everything before that ran."""
    engine_job = job(conv_net())
    toolchain = Toolchain(interpreter=python_310, flavour=engine_job.toolchain.flavour)
    there = dataclasses.replace(engine_job, toolchain=toolchain)
    with pytest.raises(ToolchainBroken, match="No module named 'tensorrt_rtx'"):
        asyncio.run(build_engine(there, work=Workspace(folder=tmp_path, limits=limits)))
