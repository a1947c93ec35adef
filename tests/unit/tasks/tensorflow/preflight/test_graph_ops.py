"""The allow-list of operations, against what TensorFlow has and what is converted."""

from __future__ import annotations

import ast
import re
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from tasks.tensorflow.preflight.graph_ops import CHECKPOINTS, LEFT_FROM_TRAINING, SERVED, UNNEEDED
from tasks.tensorflow.preflight.graph_rules import (
    NEVER_RUN,
    NOT_IN_AN_ENGINE,
    READS_CHECKPOINTS,
    WRITES_CHECKPOINTS,
    first_match,
)

_REFUSED = NEVER_RUN + READS_CHECKPOINTS + WRITES_CHECKPOINTS
_CALL = re.compile(r'_apply_op_helper\(\s*"(\w+)"')
_REWRITES = Path(__file__).parents[5] / "tasks/tensorflow/rewrites"
# Each reaches files, the network, devices, threads or other sessions, or runs the file's own code.
_OUTSIDE = (
    "batch", "boosted_trees", "checkpoint", "collective", "dataset", "debug", "decode_proto", "dtensor",
    "encode_proto", "experimental_dataset", "filesystem", "io", "mlir_passthrough_op", "nccl", "rpc",
    "script", "sdca", "sendrecv", "summary", "sync", "tpu", "tpu_partition", "user", "xla",
)  # fmt: skip
_HARMLESS = {"XlaDynamicSlice", "XlaDynamicUpdateSlice", "ShardedFilename", "ShardedFilespec"}
"""They copy elements, and put names together."""

_PIPELINES = re.compile(r"Iterator\w+|FIFOQueueV2|QueueDequeue\w*")
"""tf2onnx cuts them off graphs that begin with an input pipeline."""


def _package(name: str) -> Path:
    spec = PathFinder.find_spec(name)  # other tests put a stand-in for the package into sys.modules
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="module")
def operations() -> dict[str, set[str]]:
    """TensorFlow's operations by the module of its Python functions."""
    files = _package("tensorflow").rglob("gen_*.py")
    return {
        re.sub("gen_|_ops$", "", file.stem): set(_CALL.findall(file.read_text("utf-8"))) for file in files
    }


def _passes(op: str) -> bool:
    return op in SERVED | UNNEEDED and first_match(op, _REFUSED) is None


def test_operations_that_reach_out_of_the_tensors_are_refused(operations: dict[str, set[str]]) -> None:
    assert set(_OUTSIDE) <= operations.keys()
    reaching = {op for module in _OUTSIDE for op in operations[module]}
    assert {"XlaCallModule", "DecodeProtoV2", "ThreadPoolHandle", "SaveV2"} <= reaching
    reaching |= {"Abort", "ImmutableConst", "FIFOQueueV2", "Stage", "PyFunc", "_HostSend", "SymbolicGradient"}
    assert {op for op in reaching if _passes(op)} == _HARMLESS


def test_optional_values_pass(operations: dict[str, set[str]]) -> None:
    """Keras 2 has them in the conditions of masked recurrent layers."""
    assert operations["optional"] <= SERVED


def test_training_is_no_serving(operations: dict[str, set[str]]) -> None:
    assert operations["training"] <= LEFT_FROM_TRAINING | UNNEEDED
    assert not LEFT_FROM_TRAINING & SERVED


def test_every_name_is_an_operation_of_tensorflow_in_one_list(operations: dict[str, set[str]]) -> None:
    known = set().union(*operations.values())
    lists = (SERVED, UNNEEDED, LEFT_FROM_TRAINING, CHECKPOINTS)
    assert sorted(set().union(*lists) - known) == []
    assert sum(map(len, lists)) == len(set().union(*lists))
    assert sorted(op for op in SERVED | UNNEEDED | LEFT_FROM_TRAINING if first_match(op, _REFUSED)) == []


def test_what_is_converted_passes(operations: dict[str, set[str]]) -> None:
    known = set().union(*operations.values())
    handled = {
        name
        for file in (_package("tf2onnx") / "onnx_opset").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tf_op"
        for name in _strings(node.args[0])
    }
    assert len(handled & known) > 250
    assert [op for op in handled & known if not _passes(op) and not _PIPELINES.fullmatch(op)] == []
    rewritten = {
        text
        for file in _REWRITES.glob("*.py")
        for text in _strings(ast.parse(file.read_text("utf-8")))
        if text in known
    }
    assert {"FloorMod", "UnsortedSegmentSum", "CropAndResize"} <= rewritten
    assert sorted(op for op in rewritten if not _passes(op)) == []


def test_what_no_engine_holds_is_known_by_name(operations: dict[str, set[str]]) -> None:
    """A pattern of words for people must not let in an operation that nobody has looked at."""
    known = set().union(*operations.values())
    named = {op for op in known if first_match(op, NOT_IN_AN_ENGINE) and not first_match(op, _REFUSED)}
    left = {"TRTEngineOp", "AssignVariableXlaConcatND", "StringListAttr"}
    assert named - SERVED - UNNEEDED - LEFT_FROM_TRAINING <= left


def _strings(tree: ast.AST) -> list[str]:
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
