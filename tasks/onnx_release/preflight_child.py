"""Child: refuses an ONNX model that must never run, and writes a copy with its weights in one file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, checker, inliner

from tasks.children.file_kinds import check_model_file
from tasks.children.weights import save
from tasks.domain.errors import ModelUnreadable
from tasks.domain.release import ModelFormat
from tasks.onnx.opset import opset_of
from tasks.onnx_release.external import check_external
from tasks.onnx_release.graph_check import check_calls, check_contents, check_domains

_LARGEST_GRAPH = (2 << 30) - 1
_LONGEST_MESSAGE = 500


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Check the model at `path`; write it to `clean`, its functions inlined and its weights beside it.

    Raises:
        ModelRefused: it has what the farm never runs, or what no engine can hold.
        ModelUnreadable: its files are damaged or missing.
    """
    path, clean = Path(request["path"]), Path(request["clean"])
    check_model_file(path, ModelFormat.ONNX)
    model = _read(path)
    report("check", 0.2)
    check_contents(model)
    check_domains(model)
    check_calls(model)
    check_external(model, path.parent)
    report("copy", 0.5)
    clean.parent.mkdir()
    with contextlib.chdir(path.parent):
        model = inliner.inline_local_functions(model)
        _check(model)
        weights = save(model, clean, one_file=0)
    return {"opset": opset_of(model), "weights": None if weights is None else str(weights)}


def _read(path: Path) -> ModelProto:
    size = path.stat().st_size
    if size > _LARGEST_GRAPH:
        raise _unreadable(f"{size} bytes, but a message has at most {_LARGEST_GRAPH}")
    try:
        model = onnx.load(path, load_external_data=False)
        opset_of(model)
    except (OSError, ValueError, KeyError, DecodeError) as error:
        raise _unreadable(f"{type(error).__name__}: {error}") from error
    if not model.HasField("graph") or not model.graph.output:
        raise _unreadable("a file without a graph")
    return model


def _check(model: ModelProto) -> None:
    try:
        checker.check_model(model)
    except checker.ValidationError as error:
        raise _unreadable(" ".join(str(error).split())[:_LONGEST_MESSAGE]) from error


def _unreadable(problem: str) -> ModelUnreadable:
    return ModelUnreadable(
        wanted=f"a valid ONNX model in {ModelFormat.ONNX}",
        found=problem,
        fix="check it with onnx.checker.check_model, export it again, and upload its external data, too",
    )
