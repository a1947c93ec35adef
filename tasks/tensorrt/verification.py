"""Compares engines with TensorFlow's answers, each in a process of the toolchain's own interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.children.workspace import Workspace
from tasks.domain.digest import BlobRef
from tasks.domain.record import Comparison
from tasks.tensorrt.engine import child_program
from tasks.tensorrt.plugins import PluginFile, plugins_document
from tasks.tensorrt.toolchain import Toolchain


async def verify_engine(  # noqa: PLR0913 (a plan, what it is held against, and where it runs)
    toolchain: Toolchain,
    plan: Path,
    expected: BlobRef,
    reference: Path,
    *,
    actual: Path | None = None,
    plugins: tuple[PluginFile, ...] = (),
    carries_code: bool = False,
    gpu_index: int,
    work: Workspace,
) -> tuple[Comparison, ...]:
    """Run the plan on a GPU at each corner of `reference` and compare it with TensorFlow.

    The engine's outputs are written to `actual`, in the layout of `reference`; None: nowhere. The code in a
    plan that carries code is allowed to run, after the check of its digest.

    Raises:
        DigestMismatch: the file is not `expected`; TensorRT did not get it.
        ToolchainBroken: TensorRT does not load.
        RunnerMissing: pycuda does not load in the toolchain's interpreter.
        TargetUnavailable: the plan does not run on this GPU with this TensorRT.
        GpuUnavailable: there is no such GPU, or it is out of memory.
        VerificationFailed: the engine refuses the inputs, or stops with an error.
    """
    request = _verify_request(plan, expected, reference, actual) | {
        "module": toolchain.flavour.value,
        "gpu_index": gpu_index,
        "plugins": plugins_document(plugins),
        "carries_code": carries_code,
    }
    program = child_program(toolchain, "verify", gpu_index)
    answer = await work.run(program, request)
    return tuple(Comparison(**row) for row in answer.result["comparisons"])


def _verify_request(plan: Path, expected: BlobRef, reference: Path, actual: Path | None) -> dict[str, Any]:
    return {
        "plan": plan,
        "sha256": expected.sha256,
        "size": expected.size,
        "reference": reference,
        "actual": None if actual is None else str(actual.absolute()),
    }
