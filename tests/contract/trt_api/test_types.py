"""What runs inside a toolchain, held by a type checker against the types of every TensorRT that it serves.

The code takes TensorRT as an argument, since there are several, and names its objects alike everywhere
(`test_attributes.py` holds it to that). Here each such argument gets the type that its name stands for, once
for each TensorRT, and mypy reads all of them.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.trt_api.test_attributes import CLASS_OF, FAMILIES, INSIDE, LISTINGS, PROGRAMS, reach

ROOT = Path(__file__).parents[3]
STUBS = {
    "8.6.0": "trt_8_6",
    "10.13.3.9": "trt_10_13",
    "10.16.1.11": "trt_10_16",
    "11.4.0.106": "trt_11_4",
    "rtx-1.7.1.116": "rtx_1_7",
}
WRONG = """
from __future__ import annotations
from typing import Any

def wrong(trt: Any, builder: Any, network: Any, config: Any, engine: Any, context: Any) -> None:
    config.set_flag(1)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE)
    config.set_memory_pool_limit(trt.BuilderFlag.TF32, 1 << 30)
    config.builder_optimization_level = "3"
    builder.build_serialized_network(network)
    builder.build_serialized_network(config, network)
    network.mark_output("scores")
    trt.Builder()
    engine.get_tensor_name("x")
    context.execute_async_v3()
    context.set_tensor_address("x", "y")
    context.set_input_shape(0, (1, 2))
"""


def places(source: str) -> Iterator[tuple[int, int, str, str]]:
    """Where a type of TensorRT stands or is missing: line, column, what is there, and what shall be."""
    for node in ast.walk(ast.parse(source)):
        name, given = "", None
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                if ast.unparse(base).startswith("trt."):
                    yield base.lineno, base.col_offset, "trt.", "_types."
        elif isinstance(node, ast.arg):
            name, given = node.arg.lstrip("_"), node.annotation
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is None:
            name, given = node.target.id, node.annotation
        if isinstance(given, ast.Name) and given.id == "Any" and (name == "trt" or name in CLASS_OF):
            wanted = "Module" if name == "trt" else CLASS_OF[name]
            yield given.lineno, given.col_offset, "Any", f"_types.{wanted}"


def annotated(source: str, stub: str) -> str:
    """Return `source` with types of TensorRT in place of `Any`."""
    lines = source.splitlines()
    for line, column, there, wanted in sorted(places(source), reverse=True):
        text = lines[line - 1]
        lines[line - 1] = text[:column] + wanted + text[column + len(there) :]
    future = lines.index("from __future__ import annotations")
    lines.insert(future + 1, f"from {stub} import types as _types")
    return "\n".join(lines) + "\n"


def copy(folder: Path, family: str, version: str) -> Path:
    """Write what runs with `family` as a package whose objects have the types of `version`."""
    stub = STUBS[version]
    package = folder / stub
    package.mkdir()
    (package / "__init__.py").touch()
    text = (LISTINGS / f"types/{stub}.pyi").read_text("utf-8")
    (package / "types.pyi").write_text(text, "utf-8")
    served = reach(*PROGRAMS, family)
    for path in INSIDE.rglob("*.py"):
        place = path.relative_to(INSIDE)
        is_served = ".".join(place.with_suffix("").parts) in served
        text = path.read_text("utf-8")
        text = annotated(text, stub) if is_served else "# mypy: ignore-errors\n" + text
        (package / place).parent.mkdir(exist_ok=True)
        (package / place).write_text(text.replace("tasks.tensorrt.inside", stub), "utf-8")
    (package / "wrong.py").write_text(annotated(WRONG, stub), "utf-8")
    return package


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mypy says about the copies for every TensorRT."""
    folder = tmp_path_factory.mktemp("typed")
    packages = [
        copy(folder, family, version) for family, versions in FAMILIES.items() for version in versions
    ]
    options = ["--strict", "--no-error-summary", "--no-warn-unused-ignores", "--follow-imports=silent"]
    options += ["--disable-error-code=import-not-found"]  # pycuda is not here
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file=",
        *options,
        *(package.name for package in packages),
    ]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_every_call_has_the_types_that_tensorrt_takes(problems: list[str]) -> None:
    freeing = 'expression has type "None"'
    assert [line for line in problems if "/wrong.py:" not in line and freeing not in line] == []


@pytest.mark.parametrize("stub", STUBS.values())
def test_wrong_calls_are_found(problems: list[str], stub: str) -> None:
    lines = {
        int(line)
        for line in re.findall(rf"^{stub}/wrong\.py:(\d+): error", "\n".join(problems), re.MULTILINE)
    }
    first = WRONG.splitlines().index("    config.set_flag(1)") + 2  # one line more is imported
    assert lines == set(range(first, len(WRONG.splitlines()) + 2))
