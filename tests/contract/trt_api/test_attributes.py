"""Every attribute of TensorRT that the farm touches must exist in every TensorRT that it serves."""

from __future__ import annotations

import ast
import importlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
INSIDE = ROOT / "tasks/tensorrt/inside"
LISTINGS = ROOT / "tests/assets/trt_api"
FAMILIES = {
    "families.trt8": ("8.6.0",),
    "families.trt10": ("10.13.3.9", "10.16.1.11"),
    "families.trt11": ("11.4.0.106",),
    "families.rtx": ("rtx-1.7.1.116",),
}
CLASS_OF = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "tensor": "ITensor",
    "layer": "ILayer",
    "error": "ParserError",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "registry": "IPluginRegistry",
    "inspector": "EngineInspector",
    "cache": "ITimingCache",
    "other": "ITimingCache",
    "entry": "TimingCacheValue",
}
MADE_BY = {
    "Builder": "builder",
    "OnnxParser": "parser",
    "Runtime": "runtime",
    "create_network": "network",
    "create_builder_config": "config",
    "create_optimization_profile": "profile",
    "deserialize_cuda_engine": "engine",
    "create_execution_context": "context",
    "get_plugin_registry": "registry",
    "create_engine_inspector": "inspector",
    "create_timing_cache": "cache",
    "query": "entry",
}
PROGRAMS = ("probe", "gpus", "build", "merge_timing", "verify", "profile", "run", "locate")
REMOVED = (
    "config.max_workspace_size = 1 << 30",
    "builder.max_batch_size = 8",
    "builder.fp16_mode = True",
    "engine = builder.build_cuda_engine(network)",
    "config.int8_calibrator = calibrator",
    "engine.get_binding_index('x')",
    "self._context.execute_async_v2(bindings)",
    "config.set_flag(trt.BuilderFlag.INT8)",
    "trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
)


@dataclass(frozen=True)
class Touch:
    """One attribute that is read, set or called: of which class, and where."""

    owner: str
    attribute: str
    line: int


def called(node: ast.expr) -> str:
    """The last part of a receiver's name, so that `self._context` and `session.builder` count, too."""
    if isinstance(node, ast.Name):
        return node.id.lstrip("_")
    return node.attr.lstrip("_") if isinstance(node, ast.Attribute) else ""


def touches(source: str) -> set[Touch]:
    """Everything of TensorRT that `source` touches."""
    touched = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute) or is_special(node.attr):
            continue
        receiver = node.value
        if called(receiver) == "trt":
            touched.add(Touch("", node.attr, node.lineno))
        elif isinstance(receiver, ast.Attribute) and called(receiver.value) == "trt":
            touched.add(Touch(receiver.attr, node.attr, node.lineno))
        elif called(receiver) in CLASS_OF:
            touched.add(Touch(CLASS_OF[called(receiver)], node.attr, node.lineno))
    return touched


def is_special(name: str) -> bool:
    return name.startswith("__") and name != "__version__"


def missing(touched: set[Touch], version: str) -> list[str]:
    """What of `touched` TensorRT `version` does not have."""
    listing = json.loads((LISTINGS / f"{version}.json").read_text("utf-8"))
    return [
        f"line {touch.line}: {touch.owner or 'trt'}.{touch.attribute}"
        for touch in sorted(touched, key=lambda touch: touch.line)
        if touch.attribute not in (listing if not touch.owner else listing.get(touch.owner, ()))
    ]


def file_of(module: str) -> Path:
    """Where the module lies whose name below `inside` is `module`."""
    return INSIDE / f"{module.replace('.', '/')}.py"


def source(module: str) -> str:
    return file_of(module).read_text("utf-8")


@cache
def imported(module: str) -> list[str]:
    """The modules below `inside` that it imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source(module))):
        if isinstance(node, ast.ImportFrom) and node.module:
            head, _, tail = node.module.partition("tasks.tensorrt.inside")
            if not head and node.module.startswith("tasks.tensorrt.inside"):
                is_module = bool(tail) and file_of(tail[1:]).is_file()
                names += [tail[1:]] if is_module else [f"{tail}.{alias.name}"[1:] for alias in node.names]
    return names


def reach(*starts: str) -> set[str]:
    """Modules that run with `starts`, other families' modules left out."""
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += [name for name in imported(module) if name not in FAMILIES]
    return seen


SERVED = [
    pytest.param(module, version, id=f"{version}-{module}")
    for family, versions in FAMILIES.items()
    for version in versions
    for module in sorted(reach(*PROGRAMS, family))
]


@pytest.mark.parametrize(("module", "version"), SERVED)
def test_every_attribute_exists(module: str, version: str) -> None:
    assert missing(touches(source(module)), version) == []


def test_nothing_is_used_in_8_that_10_removed() -> None:
    for module in sorted(reach("families.trt8")):
        assert missing(touches(source(module)), "10.13.3.9") == []


def test_every_module_is_held_against_some_version() -> None:
    modules = {
        ".".join(path.relative_to(INSIDE).with_suffix("").parts)
        for path in INSIDE.rglob("*.py")
        if path.stem != "__init__"
    }
    assert reach(*PROGRAMS, *FAMILIES) == modules


def test_the_table_of_families_is_the_one_that_is_checked() -> None:
    table = importlib.import_module("tasks.tensorrt.inside.families.registry")._FAMILIES
    assert {module.__name__.removeprefix("tasks.tensorrt.inside.") for module in table.values()} == set(
        FAMILIES
    )


@pytest.mark.parametrize("line", REMOVED)
def test_what_later_versions_removed_is_found(line: str) -> None:
    """The check itself: it must fail when someone writes one of these."""
    assert missing(touches(line), "11.4.0.106")
    assert missing(touches(line), "rtx-1.7.1.116")


@pytest.mark.parametrize(
    ("flag", "versions"),
    [
        ("TF32", ["8.6.0", "10.13.3.9", "10.16.1.11", "11.4.0.106", "rtx-1.7.1.116"]),
        ("FP16", ["8.6.0", "10.13.3.9", "10.16.1.11"]),
        ("INT8", ["8.6.0", "10.13.3.9", "10.16.1.11"]),
        ("BF16", ["10.13.3.9", "10.16.1.11"]),
    ],
)
def test_which_versions_have_a_flag_for_a_precision(flag: str, versions: list[str]) -> None:
    touched = touches(f"config.set_flag(trt.BuilderFlag.{flag})")
    everything = [version for family in FAMILIES.values() for version in family]
    assert [version for version in everything if not missing(touched, version)] == versions


def test_objects_have_the_names_that_the_check_goes_by() -> None:
    wrong = []
    for path in sorted(INSIDE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            wanted = MADE_BY.get(called(node.value.func))
            names = {called(target) for target in node.targets}
            if wanted is not None and names != {wanted}:
                wrong.append(f"{path.name}:{node.lineno}: {names} should be {wanted}")
    assert wrong == []


def test_what_is_touched_is_not_nothing() -> None:
    everything = {
        (touch.owner, touch.attribute)
        for path in INSIDE.rglob("*.py")
        for touch in touches(path.read_text("utf-8"))
    }
    assert {
        ("Builder", "build_serialized_network"),
        ("IBuilderConfig", "set_memory_pool_limit"),
        ("IBuilderConfig", "set_tactic_sources"),
        ("IExecutionContext", "execute_async_v3"),
        ("ICudaEngine", "get_tensor_mode"),
        ("ITensor", "is_shape_tensor"),
        ("ParserError", "node_operator"),
        ("IExecutionContext", "report_to_profiler"),
        ("ICudaEngine", "device_memory_size_v2"),
        ("", "IProfiler"),
        ("ITimingCache", "combine"),
        ("ITimingCache", "queryKeys"),
        ("TimingCacheValue", "tacticHash"),
        ("BuilderFlag", "ERROR_ON_TIMING_CACHE_MISS"),
        ("BuilderFlag", "TF32"),
        ("BuilderFlag", "STRIP_PLAN"),
        ("BuilderFlag", "VERSION_COMPATIBLE"),
        ("Builder", "build_serialized_network_to_stream"),
        ("", "IStreamWriter"),
        ("EngineInspector", "get_engine_information"),
        ("LayerInformationFormat", "JSON"),
        ("ProfilingVerbosity", "DETAILED"),
        ("IBuilderConfig", "hardware_compatibility_level"),
        ("", "OnnxParser"),
    } <= everything
