"""Child: runs an engine on a GPU and compares it with TensorFlow's answers."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.children.compare import compare_outputs
from tasks.children.reference import Corner, answer, read_reference, write_reference
from tasks.domain.errors import DigestMismatch, RunnerMissing
from tasks.tensorrt.inside.execution import Execution
from tasks.tensorrt.inside.library import load
from tasks.tensorrt.inside.phases import Phases
from tasks.tensorrt.inside.plugins import load_plugins


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Run the engine at each corner of the reference.

    Args:
        request: `module`, `plan`, `sha256`, `size`, `reference`, `gpu_index`, `plugins`, `carries_code`
            (whether the plan holds a runtime that it may run), and `actual`: where
            to leave what the engine answered, in the layout of `tasks.children.reference`.
        report: takes the phases `load` and `run`.

    Returns:
        `comparisons`, as `tasks.children.compare.compare_outputs` makes them, and `seconds` by phase.

    Raises:
        DigestMismatch: the plan is not the one that is expected; it was not given to TensorRT.
        ToolchainBroken: TensorRT does not load.
        PluginRefused: a library is not the one that is named, or does not load.
        RunnerMissing: pycuda does not load.
        TargetUnavailable: the plan does not run on this GPU with this TensorRT.
        GpuUnavailable: there is no such GPU, or it is out of memory.
        VerificationFailed: the engine does not take the inputs, or stops with an error.
    """
    phases = Phases(report)
    plan = _checked_bytes(Path(request["plan"]), request["sha256"], request["size"])
    with phases.timed("load"):
        trt, cuda = load(request["module"]), _pycuda()
        load_plugins(trt, request["plugins"])
        execution = Execution(trt, cuda, plan, request["gpu_index"], carries_code=request["carries_code"])
    comparisons, answers = [], list[Corner]()
    corners = read_reference(Path(request["reference"]))
    try:
        with phases.timed("run") as advance:
            for number, corner in enumerate(corners, start=1):
                actual = execution.run(corner.inputs)
                answers.append(answer(corner.name, actual))
                comparisons += compare_outputs(corner.name, corner.outputs, actual, corner.noise)
                advance(number / len(corners))
    finally:
        execution.close()
        if answers and request["actual"] is not None:
            write_reference(Path(request["actual"]), answers)
    return {"comparisons": comparisons, "seconds": phases.seconds}


def _checked_bytes(path: Path, sha256: str, size: int) -> bytes:
    """Return the file's bytes: what is hashed here is what TensorRT gets, not the file once more."""
    plan = path.read_bytes()
    found = hashlib.sha256(plan).hexdigest()
    if (found, len(plan)) != (sha256, size):
        raise DigestMismatch(
            wanted=f"a plan with SHA-256 {sha256} and {size} bytes",
            found=f"SHA-256 {found} and {len(plan)} bytes in {path.name}",
            fix="fetch the plan again; if it stays so, build the engine again and find out who changed it",
        )
    return plan


def _pycuda() -> Any:
    try:
        import pycuda.driver as cuda  # noqa: PLC0415 (only here is it needed)
    except ImportError as error:
        raise RunnerMissing(
            wanted=f"pycuda in {sys.executable}, to run the engine on its GPU",
            found=str(error),
            fix=f"install pycuda into that interpreter, on a host with NVIDIA's driver: `{sys.executable} -m "
            "pip install 'pycuda>=2025.1'`",
        ) from error
    return cuda
