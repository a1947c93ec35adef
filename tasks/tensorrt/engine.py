"""Building engines and running them, each in a process of the toolchain's own interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tasks.children.run import ChildAnswer, ChildProgram, Confinement, Limits, run_child
from tasks.domain.digest import BlobRef
from tasks.domain.errors import DigestMismatch
from tasks.domain.record import Comparison, TensorSpec
from tasks.domain.request import Precision, ShapeRange
from tasks.domain.target import EngineTarget, ToolchainInfo
from tasks.tensorrt.documents import read_info, read_specs, read_target, shapes_document, target_document
from tasks.tensorrt.inside.families import family_of
from tasks.tensorrt.plugins import PluginFile, plugins_document
from tasks.tensorrt.timing import TimingInput, TimingOutcome, read_timing, timing_request
from tasks.tensorrt.toolchain import Toolchain


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineJob:
    """One engine to build.

    Attributes:
        toolchain: what builds it.
        target: where it is to run; several compute capabilities of TensorRT-RTX make one portable plan.
        onnx: the graph, in the precision that `graph_precision` tells.
        precision: the arithmetic that is asked for.
        shapes: shapes by input; inputs with fixed shapes may stay out.
        workspace_mib: most scratch memory on the GPU, in MiB.
        optimization_level: 0 (fast build) to 5 (fast engine).
        gpu_index: the GPU to build on, among the visible ones; TensorRT-RTX needs none.
        plugins: libraries that the building process loads.
        timing: where it has its timings; None measures everything anew and keeps nothing.
    """

    toolchain: Toolchain
    target: EngineTarget
    onnx: Path
    precision: Precision
    shapes: Mapping[str, ShapeRange]
    workspace_mib: int
    optimization_level: int
    gpu_index: int | None
    plugins: tuple[PluginFile, ...] = ()
    timing: TimingInput | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """A plan and what is known about it.

    Attributes:
        plan: the engine's file, bare.
        ref: SHA-256 and size of the engine as TensorRT gave it, taken in the building process before the
            file was written; hold the file against it wherever the file is read.
        target: where it runs, as the building process found it.
        info: the interpreter that built it.
        inputs: inputs in the graph's order, with the engine's own element types.
        outputs: outputs in the graph's order.
        seconds: wall time by phase: `load`, `parse`, `build`, `write`.
        peak_mib: most memory of the building process on the host, in MiB.
        warnings: what TensorRT warned about, shortened.
        plugins: libraries that the plan needs to be loaded.
        timing: what it did with its timings.
    """

    plan: Path
    ref: BlobRef
    target: EngineTarget
    info: ToolchainInfo
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    seconds: Mapping[str, float]
    peak_mib: float
    warnings: tuple[str, ...]
    plugins: tuple[PluginFile, ...] = ()
    timing: TimingOutcome = field(default_factory=TimingOutcome)


def graph_precision(target: EngineTarget, precision: Precision) -> Precision:
    """Return what must be written into the graph for `target`; FP32 where `precision` is a flag of the build.

    TensorRT 11 and TensorRT-RTX take FP16 and BF16 from casts in the graph, 8 and 10 from flags. INT8 and
    FP8 are Q/DQ nodes everywhere, and what is not quantised computes in FP32. TF32 is a flag everywhere.

    Raises:
        ToolchainBroken: the farm does not know the target's TensorRT family.
    """
    family = family_of(target.flavour.value, str(target.version))
    return precision if precision in family.IN_GRAPH else Precision.FP32


async def build_engine(job: EngineJob, *, workdir: Path, limits: Limits) -> BuiltEngine:
    """Build the plan in a file of its own below `workdir`; nothing is left there when that fails.

    Raises:
        TargetUnavailable: the building process finds another target than `job.target`, or TensorRT-RTX
            does not build for it.
        BuildRefused: TensorRT cannot parse the graph, or has no implementation for it.
        RequestInvalid: the shapes do not fit the graph's inputs.
        GpuUnavailable: a GPU is needed and not there, or out of memory.
        ToolchainBroken: the toolchain does not load.
        PluginRefused: a library is not the one that is named, or does not load.
        TimingCacheMiss: a reproducible build needs timings that its cache does not have.
        DigestMismatch: the file has another size than the engine had in memory.
        ChildCrashed: TensorRT took its process down.
        ChildOutOfMemory: it reached `limits.memory_mib`.
        ChildTimedOut: it reached `limits.seconds`.
    """
    plan = _new_plan(workdir)
    try:
        program = child_program(job.toolchain, "build", job.gpu_index)
        request = build_request(job, plan) | {"timing": timing_request(job.timing, workdir)}
        answer = await run_child(program, request, workdir=workdir, limits=limits)
        return _built(job, plan, request, answer)
    except BaseException:
        plan.unlink(missing_ok=True)
        raise


async def verify_engine(  # noqa: PLR0913 (a plan, what it is held against, and where it runs)
    toolchain: Toolchain,
    plan: Path,
    expected: BlobRef,
    reference: Path,
    *,
    actual: Path | None = None,
    plugins: tuple[PluginFile, ...] = (),
    gpu_index: int,
    workdir: Path,
    limits: Limits,
) -> tuple[Comparison, ...]:
    """Run the plan on a GPU at each corner of `reference` and compare it with TensorFlow.

    The engine's outputs are left in `actual`, in the layout of `reference`; None forgets them.

    Raises:
        DigestMismatch: the file is not `expected`; TensorRT has not seen it.
        ToolchainBroken: TensorRT does not load.
        RunnerMissing: pycuda does not load in the toolchain's interpreter.
        TargetUnavailable: the plan does not run on this GPU with this TensorRT.
        GpuUnavailable: there is no such GPU, or it is out of memory.
        VerificationFailed: the engine does not take the inputs, or stops with an error.
    """
    request = _verify_request(plan, expected, reference, actual) | {
        "module": toolchain.flavour.value,
        "gpu_index": gpu_index,
        "plugins": plugins_document(plugins),
    }
    program = child_program(toolchain, "verify", gpu_index)
    answer = await run_child(program, request, workdir=workdir, limits=limits)
    return tuple(Comparison(**row) for row in answer.result["comparisons"])


def child_program(toolchain: Toolchain, name: str, gpu_index: int | None) -> ChildProgram:
    """Return the program `name` of `tasks.tensorrt.inside` in the toolchain's interpreter."""
    return ChildProgram(
        module=f"tasks.tensorrt.inside.{name}",
        step=name,
        interpreter=toolchain.interpreter,
        confinement=Confinement.NETWORK if gpu_index is None else Confinement.DEVICE,
    )


def _new_plan(workdir: Path) -> Path:
    return workdir.absolute() / f"engine-{uuid4().hex}.plan"


def _verify_request(plan: Path, expected: BlobRef, reference: Path, actual: Path | None) -> dict[str, Any]:
    return {
        "plan": plan,
        "sha256": expected.sha256,
        "size": expected.size,
        "reference": reference,
        "actual": None if actual is None else str(actual.absolute()),
    }


def build_request(job: EngineJob, plan: Path) -> dict[str, Any]:
    """Return `job` as the building child takes it, but for its timings."""
    return {
        "module": job.toolchain.flavour.value,
        "target": target_document(job.target),
        "onnx": job.onnx,
        "plan": str(plan),
        "precision": job.precision.value,
        "shapes": shapes_document(job.shapes),
        "workspace_mib": job.workspace_mib,
        "optimization_level": job.optimization_level,
        "gpu_index": job.gpu_index,
        "plugins": plugins_document(job.plugins),
    }


def _built(job: EngineJob, plan: Path, request: dict[str, Any], answer: ChildAnswer) -> BuiltEngine:
    result = answer.result
    ref = BlobRef(**result["plan"])
    _check_size(plan, ref)
    return BuiltEngine(
        plan=plan,
        ref=ref,
        target=read_target(result["target"]),
        info=read_info(result["info"]),
        inputs=read_specs(result["inputs"]),
        outputs=read_specs(result["outputs"]),
        seconds=result["seconds"],
        peak_mib=answer.peak_mib,
        warnings=tuple(result["warnings"]),
        plugins=job.plugins,
        timing=read_timing(request["timing"], result["timing"]),
    )


def _check_size(plan: Path, ref: BlobRef) -> None:
    """Catch a file that was cut short at once; only a reader that hashes it can know the rest."""
    size = plan.stat().st_size
    if size != ref.size:
        raise DigestMismatch(
            wanted=f"a plan of {ref.size} bytes, as TensorRT built it",
            found=f"{size} bytes in {plan.name}",
            fix="build again; if it stays so, find out what else writes into the farm's work directory",
        )
