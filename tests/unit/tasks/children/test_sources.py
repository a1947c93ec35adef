"""The farm's own code is part of what its results are keyed by: prose, layout and places of files are not."""

from __future__ import annotations

import ast
import gc
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.children import sources
from tasks.children.canonical import CanonicalSource
from tasks.children.counted import BUILD, CONVERSION, LEFT_OUT
from tasks.children.sources import Sources, source_digest
from tasks.domain.cell import CellOptions
from tasks.domain.keys import build_key, conversion_key
from tasks.domain.request import Precision
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion
from tasks.tensorflow.models import conversion_tools
from tasks.tensorrt.site import build_tools

ROOT = Path(__file__).parents[4]
HERE = Sources(ROOT)
COUNTED = sorted(HERE.counted(CONVERSION) | HERE.counted(BUILD))
CHILDREN = (
    "tasks.tensorflow.preflight.child",
    "tasks.tensorflow.export_child",
    "tasks.tensorflow.plan_child",
    "tasks.tensorflow.convert_child",
    "tasks.tensorflow.channels_first_child",
    "tasks.onnx.lower_child",
    "tasks.onnx.compare_child",
    "tasks.tensorrt.inside.build",
    "tasks.tensorrt.inside.verify",
)
"""The programs that make graphs, answers, plans and verdicts."""


@pytest.fixture(scope="module")
def before() -> tuple[str, str]:
    """The digests of the farm's code as it is."""
    return digests(ROOT)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the farm's code."""
    shutil.copytree(ROOT / "tasks", tmp_path / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def digests(root: Path, rename: Callable[[str], str] = str) -> tuple[str, str]:
    """Return the digests of conversions and of builds by the code below `root`."""
    sources = Sources(root, left_out=set(map(rename, LEFT_OUT)))
    conversion, build = (tuple(map(rename, programs)) for programs in (CONVERSION, BUILD))
    return sources.digest(conversion), sources.digest(build)


def file_of(tree: Path, module: str) -> Path:
    return tree.joinpath(*module.split(".")).with_suffix(".py")


def replace_everywhere(tree: Path, pattern: str, replacement: str) -> None:
    for path in tree.rglob("*.py"):
        text = path.read_text("utf-8")
        if (changed := re.sub(pattern, replacement, text)) != text:
            path.write_text(changed, "utf-8")


def test_keys_name_the_code_that_made_the_result() -> None:
    assert conversion_tools()["enginefarm-conversion"] == source_digest(CONVERSION) == digests(ROOT)[0]
    assert build_tools() == {"enginefarm-build": source_digest(BUILD)}
    assert source_digest(BUILD) == digests(ROOT)[1] != digests(ROOT)[0]


# What changes no digest.


def keys(conversion: str, build: str) -> tuple[str, str]:
    """Return the keys of a conversion, and of an engine that is built from it, by code of these digests."""
    tools = {**conversion_tools(), "enginefarm-conversion": conversion}
    graph = conversion_key(
        model_digest="0" * 64, signature=None, shapes=({},), samples=None, opset=17,
        graph_precision=Precision.FP16, calibration=None, tolerance=0.02, top1=None, plugin_ops=(),
        tools=tools,
    )  # fmt: skip
    options = CellOptions(
        signature="serving_default", precision=Precision.FP16, shapes={}, tolerance=0.02, samples=None,
        workspace_mib=1024, optimization_level=3,
    )  # fmt: skip
    target = EngineTarget(
        flavour=Flavour.TENSORRT, version=TensorRTVersion.parse("10.13.3.9"), gpu="NVIDIA L4",
        compute_capabilities=(ComputeCapability(major=8, minor=9),), os="linux", architecture="x86_64",
    )  # fmt: skip
    tools |= {"enginefarm-build": build}
    return graph, build_key(model_digest="0" * 64, opset=17, options=options, tools=tools, target=target)


def test_keys_survive_changed_docstrings(tree: Path, before: tuple[str, str]) -> None:
    """Two words in the docstring of `children/progress.py` once made every engine of every store stale."""
    replace_everywhere(tree, r'"""([A-Z])', r'"""In other words: \1')
    for module in ("tasks.children.progress", "tasks.onnx.casts", "tasks.tensorrt.inside.build"):
        assert "In other words" in file_of(tree, module).read_text("utf-8")
    assert keys(*digests(tree)) == keys(*before)


def test_keys_do_not_survive_a_changed_line(tree: Path, before: tuple[str, str]) -> None:
    casts = file_of(tree, "tasks.onnx.casts")
    casts.write_text(casts.read_text("utf-8") + "\nMORE = 1\n", "utf-8")
    assert set(keys(*digests(tree))).isdisjoint(keys(*before))  # an engine has the tools of its graph, too


def test_comments_do_not_count(tree: Path, before: tuple[str, str]) -> None:
    replace_everywhere(tree, r"(?m)^( *)(def |class )", r"\1# Something else.\n\1\2")
    assert digests(tree) == before


def test_formatting_does_not_count(tree: Path, before: tuple[str, str]) -> None:
    subprocess.run(
        [
            sys.executable, "-m", "ruff", "format", "--isolated", "--no-cache", "--quiet",
            "--line-length", "50", "--config", "format.quote-style='single'", "--config",
            "format.skip-magic-trailing-comma=true", str(tree),
        ],
        check=True,
    )  # fmt: skip
    gate = file_of(tree, "tasks.domain.gate")
    assert gate.read_text("utf-8") != file_of(ROOT, "tasks.domain.gate").read_text("utf-8")
    assert digests(tree) == before


@pytest.mark.parametrize(
    "module",
    ["tasks.onnx.casts", "tasks.onnx.lower_child", "tasks.domain.gate", "tasks.tensorrt.inside.network"],
)
def test_a_renamed_file_does_not_count(tree: Path, module: str, before: tuple[str, str]) -> None:
    renamed = f"{module}_renamed"
    file_of(tree, module).rename(file_of(tree, renamed))
    replace_everywhere(tree, rf"\b{re.escape(module)}\b", renamed)
    assert digests(tree, lambda name: renamed if name == module else name) == before


def test_a_renamed_module_of_a_family_does_not_count(tree: Path, before: tuple[str, str]) -> None:
    """Its file's name is a name in the code, too."""
    module = file_of(tree, "tasks.tensorrt.inside.families.trt8")
    module.rename(module.with_name("eight.py"))
    replace_everywhere(tree, r"\btrt8\b", "eight")
    assert digests(tree) == before


def test_a_moved_folder_does_not_count(tree: Path, before: tuple[str, str]) -> None:
    (tree / "tasks/graphs").mkdir()
    (tree / "tasks/onnx").rename(tree / "tasks/graphs/work")
    replace_everywhere(tree, r"\btasks\.onnx\b", "tasks.graphs.work")
    assert digests(tree, lambda name: name.replace("tasks.onnx.", "tasks.graphs.work.")) == before


@pytest.mark.parametrize(
    "module", ["tasks.onnx.casts", "tasks.onnx.lower_child", "tasks.tensorrt.inside.build"]
)
def test_a_split_file_does_not_count(tree: Path, module: str, before: tuple[str, str]) -> None:
    """Nor do two that are merged: this, backwards."""
    parsed = ast.parse(file_of(tree, module).read_text("utf-8"))
    moved = next(node for node in reversed(parsed.body) if isinstance(node, ast.FunctionDef))
    imports = [node for node in parsed.body if isinstance(node, ast.Import | ast.ImportFrom)]
    parsed.body.remove(moved)
    first = f"from {module}_part import {moved.name}\n"
    file_of(tree, module).write_text(first + ast.unparse(parsed), "utf-8")
    part = ast.unparse(ast.Module(body=[*imports, moved], type_ignores=[]))
    file_of(tree, f"{module}_part").write_text(part, "utf-8")
    assert digests(tree) == before


def test_code_that_changes_no_result_does_not_count(tree: Path, before: tuple[str, str]) -> None:
    """Progress bars, for example."""
    for module in LEFT_OUT:
        with file_of(tree, module).open("a", encoding="utf-8") as file:
            file.write("\nMORE = 1\n")
    assert digests(tree) == before


# What changes a digest.


def code_of(function: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without the prose of errors."""
    for child in ast.iter_child_nodes(function):
        if not (isinstance(child, ast.keyword) and child.arg in {"wanted", "found", "fix"}):
            yield child
            yield from code_of(child)


def mutants(function: ast.FunctionDef | ast.AsyncFunctionDef, chance: random.Random) -> Iterator[str]:
    """Change a line of `function`, say what is changed, and change it back; then another one."""
    nodes = [function, *code_of(function)]
    lines = [
        (node.body, index)
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.With | ast.Try)
        for index, line in enumerate(node.body)
        if not isinstance(line, ast.Expr | ast.Import | ast.ImportFrom | ast.Pass)
    ]
    if lines:
        body, index = chance.choice(lines)
        deleted, body[index] = body[index], ast.Pass()
        yield f"line {deleted.lineno} is deleted"
        body[index] = deleted
    if compared := [node for node in nodes if isinstance(node, ast.Compare)]:
        comparison = chance.choice(compared)
        operators = comparison.ops
        other = ast.Is() if isinstance(operators[0], ast.IsNot) else ast.IsNot()
        comparison.ops = [other, *operators[1:]]
        yield f"line {comparison.lineno} compares otherwise"
        comparison.ops = operators
    numbers = [node for node in nodes if isinstance(node, ast.Constant) and type(node.value) in {int, float}]
    if numbers:
        number = chance.choice(numbers)
        value, number.value = number.value, -1.5
        yield f"line {number.lineno} has another number"
        number.value = value
    parameters = function.args.kwonlyargs, function.args.kw_defaults
    function.args.kwonlyargs, function.args.kw_defaults = [ast.arg("more")], [None]
    yield "it has other parameters"
    function.args.kwonlyargs, function.args.kw_defaults = parameters


def test_a_change_in_every_function_counts() -> None:
    def statements(code: ast.stmt) -> list[str]:
        return CanonicalSource(ast.unparse(code), is_module=HERE.is_module, digest=str).statements

    chance = random.Random(21)  # noqa: S311 (the same lines in every run)
    changes, unseen = 0, list[str]()
    for module in COUNTED:
        parsed = ast.parse(file_of(ROOT, module).read_text("utf-8"))
        for function in parsed.body:
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            unchanged = statements(function)
            for change in mutants(function, chance):
                changes += 1
                unseen += [f"{module}.{function.name}: {change}"] if statements(function) == unchanged else []
            assert statements(function) == unchanged
    assert unseen == []
    assert changes > len(COUNTED)


@pytest.mark.parametrize(
    ("module", "line", "instead", "kinds"),
    [
        ("tasks.domain.gate", "NOISE_FACTOR = 10.0", "NOISE_FACTOR = 11.0", {0, 1}),
        ("tasks.children.environment", '"LAZY"', '"EAGER"', {0, 1}),
        ("tasks.tensorflow.rewrites.apply", "strict=False", "strict=True", {0}),
        ("tasks.tensorflow.preflight.sanitise", 'holder.attr.pop("_XlaMustCompile", None)', "pass", {0}),
        ("tasks.tensorflow.models", '"opset": wanted.opset', '"opset": 17', {0}),
        ("tasks.tensorrt.inside.families.trt10", " | None = pinned", " | None = None", {1}),
        ("tasks.tensorrt.inside.families.registry", "10): trt10", "10): trt11", {1}),
        ("tasks.tensorrt.engine", "job.workspace_mib", "1", {1}),
    ],
)  # fmt: skip
def test_a_changed_line_counts_for_what_it_makes(
    tree: Path, module: str, line: str, instead: str, kinds: set[int], before: tuple[str, str]
) -> None:
    path = file_of(tree, module)
    text = path.read_text("utf-8")
    assert line in text
    path.write_text(text.replace(line, instead), "utf-8")
    assert {kind for kind, digest in enumerate(digests(tree)) if digest != before[kind]} == kinds


def test_families_that_exchange_their_code_count(tree: Path, before: tuple[str, str]) -> None:
    """They have the same names; a set of functions alone would not see it."""
    file = file_of(tree, "tasks.tensorrt.inside.families.trt10")
    other = file_of(tree, "tasks.tensorrt.inside.families.trt11")
    texts = file.read_text("utf-8"), other.read_text("utf-8")
    file.write_text(texts[1], "utf-8")
    other.write_text(texts[0], "utf-8")
    assert digests(tree)[1] != before[1]


def test_a_program_that_is_not_there_is_an_error(tree: Path) -> None:
    file_of(tree, "tasks.tensorflow.models").unlink()
    with pytest.raises(FileNotFoundError):  # it must not silently drop out
        digests(tree)


# Which code counts.


def test_all_that_makes_results_counts_or_is_left_out_for_a_reason() -> None:
    imported = Sources(ROOT, left_out=()).counted((*CHILDREN, *CONVERSION, *BUILD))
    assert imported == {*COUNTED, *LEFT_OUT}
    assert set(COUNTED).isdisjoint(LEFT_OUT)
    assert set(CHILDREN) <= set(COUNTED)


def test_packages_of_ours_run_no_code() -> None:
    """A module runs its package, too, which is not counted."""
    with_code = [
        str(path)
        for path in (ROOT / "tasks").rglob("__init__.py")
        if CanonicalSource(path.read_text("utf-8"), is_module=HERE.is_module, digest=str).statements
    ]
    assert with_code == []


def test_what_counts_reads_no_docstring() -> None:
    readers = [module for module in COUNTED if "__doc__" in file_of(ROOT, module).read_text("utf-8")]
    assert readers == []


def test_our_modules_are_imported_by_from() -> None:
    """`import tasks.onnx.casts` would write a file's name into the code."""
    imports = [
        (module, alias.name)
        for module in COUNTED
        for node in ast.walk(ast.parse(file_of(ROOT, module).read_text("utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.partition(".")[0] in {"tasks", "agents", "flows"}
    ]
    assert imports == []


def test_threads_may_ask_for_digests_at_the_same_time() -> None:
    """CPython 3.11 parses one source at a time: a thread that the garbage collector lets in spoils it."""
    sources._digest.cache_clear()
    expected = [source_digest(programs) for programs in (CONVERSION, BUILD)]
    sources._digest.cache_clear()

    def let_others_in(*_: object) -> None:
        os.sched_yield()

    gc.callbacks.append(let_others_in)
    try:
        with ThreadPoolExecutor(8) as threads:
            digests = list(threads.map(source_digest, (CONVERSION, BUILD) * 4))
    finally:
        gc.callbacks.remove(let_others_in)
    assert digests == expected * 4
