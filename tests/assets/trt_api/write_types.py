"""Writes the types of a TensorRT as its own docstrings give them, of the classes that the farm touches.

    python tests/assets/trt_api/write_types.py MODULE [LISTING]

MODULE is `tensorrt` or `tensorrt_rtx`. No GPU is needed; and for TensorRT 10 and 11, whose bindings are a
wheel of their own, no library of NVIDIA's either, only ones that export the nine functions by which it is
linked. The stub, for type checkers, goes to standard output. LISTING is the JSON file of all names beside
this script: only what is in it is written. Needs the standard library alone, and runs in Python 3.10.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLASSES = (
    "Builder", "EngineInspector", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "ILayer", "ILogger",
    "INetworkDefinition", "IOptimizationProfile", "IOutputAllocator", "IPluginRegistry", "IProfiler",
    "IProgressMonitor", "IStreamWriter", "ITensor", "ITimingCache", "OnnxParser", "ParserError", "Runtime",
    "TimingCacheKey", "TimingCacheValue",
)  # fmt: skip
ENUMS = (
    "BuilderFlag", "ComputeCapability", "DataType", "HardwareCompatibilityLevel", "LayerInformationFormat",
    "MemoryPoolType", "NetworkDefinitionCreationFlag", "ProfilingVerbosity", "TacticSource", "TensorIOMode",
    "TensorLocation",
)  # fmt: skip
FUNCTIONS = ("get_plugin_registry",)
# Their methods are called by TensorRT, with what Python has, and not with what pybind11 would take.
CALLED_BACK = {"ILogger", "IOutputAllocator", "IProfiler", "IProgressMonitor", "IStreamWriter"}
# The signature is that of C++; as the docstring of its class says, Python's gets the bytes alone.
STREAM_WRITE = "    def write(self, data: bytes) -> int: ..."
PLAIN = {"int", "str", "float", "bool", "bytes", "None"}
NUMBERS = {"SupportsInt": "int", "SupportsFloat": "float"}
GENERIC = {"list": "list[Any]", "tuple": "tuple[Any, ...]", "dict": "dict[Any, Any]"}
HEAD = """from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, SupportsFloat, SupportsInt, overload

class Dims:
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> int: ...
    def __iter__(self) -> Iterator[int]: ...
"""


def annotation(node: ast.expr | None, *, taken: bool) -> str:
    """The type that `node` names; what is `taken` may be what pybind11 converts to it."""
    if isinstance(node, ast.Constant) and node.value is None:
        return "None"
    if isinstance(node, ast.BinOp):
        return f"{annotation(node.left, taken=taken)} | {annotation(node.right, taken=taken)}"
    if isinstance(node, ast.Subscript):
        is_list = annotation(node.value, taken=taken) == GENERIC["list"]
        return f"list[{annotation(node.slice, taken=taken)}]" if is_list else "Any"
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return named(name, taken=taken)


def named(name: str, *, taken: bool) -> str:
    """The type that is called `name`; `Any` where the stub does not have it."""
    if name == "Dims":
        return "Dims | Sequence[int]" if taken else "Dims"
    if name in NUMBERS:
        return name if taken else NUMBERS[name]
    known = {type_name: type_name for type_name in (*CLASSES, *ENUMS, *PLAIN)} | GENERIC
    return known.get(name, known.get(name.lower(), "Any"))


def signatures(owner: str, name: str, doc: str) -> Iterator[str]:
    """The definitions that a docstring of pybind11 begins with."""
    lines = re.findall(rf"^(?:\d+\. )?{re.escape(name)}(\(.*\)) -> (.+)$", doc, re.MULTILINE)
    texts = [re.sub(r"= ?<[^>]*>", "= ...", given) for given, _ in lines]
    definitions = dict.fromkeys(
        definition(owner, name, text, line[1]) for text, line in zip(texts, lines, strict=True)
    )
    for source in definitions:
        yield ("    @overload\n" if len(definitions) > 1 else "") + source
    if not definitions and name != "__init__":
        yield f"    def {name}(self, *args: Any, **kwargs: Any) -> Any: ..."


def definition(owner: str, name: str, given: str, gives: str) -> str:
    """One of them, as a type checker reads it."""
    try:
        function = ast.parse(f"def {name}{given} -> {gives}: ...").body[0]
    except SyntaxError:
        return f"    def {name}(self, *args: Any, **kwargs: Any) -> Any: ..."
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args.args
    from_end = len(arguments) - len(function.args.defaults)
    method = bool(arguments) and arguments[0].arg == "self"
    words = ["self"] if method or not owner else []
    for index, argument in enumerate(arguments):
        if not (method and index == 0):
            default = " = ..." if index >= from_end else ""
            type_ = annotation(argument.annotation, taken=owner not in CALLED_BACK)
            words.append(f"{argument.arg}: {type_}{default}")
    static = "" if method or not owner else "    @staticmethod\n"
    return f"{static}    def {name}({', '.join(words)}) -> {annotation(function.returns, taken=False)}: ..."


def members(owner: str, cls: type, names: set[str]) -> Iterator[str]:
    """The lines of a class."""
    for name in sorted(names):
        member = getattr(cls, name, None)
        if isinstance(member, property):
            _, _, gives = (member.fget.__doc__ or "").strip().rpartition("-> ")
            try:
                type_ = annotation(ast.parse(gives, mode="eval").body, taken=False)
            except SyntaxError:
                type_ = "Any"
            yield f"    {name}: {type_}"
        elif (owner, name) == ("IStreamWriter", "write"):
            yield STREAM_WRITE
        elif callable(member) and not isinstance(member, type):
            yield from signatures(owner, name, member.__doc__ or "")
        else:
            yield f"    {name}: Any"


def stub(trt: Any, listing: dict[str, Any] | None) -> Iterator[str]:
    """The lines of the stub; what this TensorRT does not have is left out."""
    yield HEAD
    here = [name for name in (*CLASSES, *ENUMS) if hasattr(trt, name) and (not listing or name in listing)]
    for name in here:
        cls = getattr(trt, name)
        if name in ENUMS:
            yield f"class {name}:\n    __members__: ClassVar[Mapping[str, {name}]]"
            yield "    value: int\n    name: str\n    def __int__(self) -> int: ..."
            yield from (f"    {member}: ClassVar[{name}]" for member in sorted(cls.__members__))
            continue
        names = {attribute for attribute in dir(cls) if not attribute.startswith("_")}
        names &= set(listing[name]) if listing else names
        yield f"class {name}:"
        yield from signatures(name, "__init__", cls.__init__.__doc__ or "")
        yield from members(name, cls, names)
    yield "class Functions:"
    for name in FUNCTIONS:
        yield from signatures("", name, getattr(trt, name).__doc__ or "")
    yield "class Module(Functions):\n    __name__: str\n    __version__: str"
    yield from (f"    {name}: type[{name}]" for name in here)


def main(module: str, listing: str = "") -> None:
    """Write the stub of a module to standard output."""
    listed = json.loads(Path(listing).read_text("utf-8")) if listing else None
    sys.stdout.write("\n".join(stub(importlib.import_module(module), listed)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
