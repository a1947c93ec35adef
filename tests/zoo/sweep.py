"""One model through the farm, as the flow takes it: preflight to a TensorRT-RTX build."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import BuildRefused, FarmError, OperationUnsupported
from tasks.domain.gate import judge
from tasks.domain.gpu_table import base_opsets, graph_opset
from tasks.domain.record import Verification
from tasks.domain.request import BuildRequest, Precision
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour
from tasks.onnx.graph import GraphWanted, LoweredGraph, compare_graph, lower_graph
from tasks.tensorflow.models import (
    ConversionWanted,
    Converted,
    LocalModel,
    convert_saved_model,
    export_saved_model,
    preflight_model,
)
from tasks.tensorrt.engine import EngineJob, build_engine, graph_precision
from tasks.tensorrt.toolchain import Toolchain, probe_toolchain
from tests.zoo.row import ZooModel

COMPUTE = ComputeCapability.parse("8.9")
LONGEST_TEXT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every model of a run goes through.

    Attributes:
        toolchain: TensorRT-RTX.
        target: what engines are built for.
        precisions: the precisions that each model is taken to; the first is FP32.
        limits: what a child may use.
    """

    toolchain: Toolchain
    target: EngineTarget
    precisions: tuple[Precision, ...]
    limits: Limits


async def bench(interpreter: str, precisions: tuple[Precision, ...], limits: Limits, work: Path) -> Bench:
    """Return the bench with the TensorRT-RTX that `interpreter` has."""
    toolchain = Toolchain(interpreter=interpreter, flavour=Flavour.RTX)
    probe = await probe_toolchain(toolchain, work=Workspace(folder=work, limits=limits))
    target = next(target for target in probe.targets() if target.compute_capabilities == (COMPUTE,))
    return Bench(toolchain=toolchain, target=target, precisions=precisions, limits=limits)


@dataclass(slots=True)
class _Row:
    """What is known of a model so far; a step that fails leaves its name and error."""

    step: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        self.step, started = step, time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = round(self.seconds.get(step, 0.0) + time.monotonic() - started, 2)


async def sweep(model: ZooModel, made: Path, bench: Bench, work: Path) -> dict[str, Any]:
    """Return the row of `model`, which lies in the folder `made`; whatever happens ends in the row."""
    row = _Row()
    try:
        await _take(model, made, bench, work, row)
    except FarmError as error:
        row.figures["error"] = {"step": row.step, **error.texts()}
    except Exception as error:  # noqa: BLE001 (a bug of the farm is a row, too, and not the end of the run)
        text = f"{type(error).__name__}: {error}"
        row.figures["error"] = {"step": row.step, "class": "bug", "wanted": "", "found": text, "fix": ""}
    return row.figures | {"seconds": row.seconds}


async def _take(model: ZooModel, made: Path, bench: Bench, work: Path, row: _Row) -> None:
    limits = bench.limits
    with row.timed("preflight"):
        checked = await preflight_model(
            LocalModel(format=model.form, path=made / model.form.value),
            work=Workspace(folder=work, limits=limits),
        )
    with row.timed("export"):
        saved_model = await export_saved_model(checked, work=Workspace(folder=work, limits=limits))
    with row.timed("convert"):
        opset, converted = await _converted(model, saved_model, made, bench, work)
    row.figures |= {
        "opset": opset,
        "peak_mib": round(converted.peak_mib),
        "inputs": [tensor.name for tensor in converted.inputs],
        "outputs": [tensor.name for tensor in converted.outputs],
    }
    base: LoweredGraph | None = None
    for precision in bench.precisions:
        if model.only_fp32 and precision is not Precision.FP32:
            continue
        form = graph_precision(bench.target, precision)
        wanted = GraphWanted(precision=form, opset=graph_opset(opset, form))
        with row.timed(f"lower {precision}"):
            source = converted.onnx if base is None else base.onnx
            graph = await lower_graph(source, wanted, work=Workspace(folder=work, limits=limits))
        base = base or graph
        row.figures["peak_mib"] = max(row.figures["peak_mib"], round(graph.peak_mib))
        row.figures.setdefault("nodes_before", graph.nodes_before)
        row.figures.setdefault("nodes", graph.nodes)
        with row.timed(f"compare {precision}"):
            comparisons = await compare_graph(
                graph.onnx, converted.reference, work=Workspace(folder=work, limits=limits)
            )
        tolerances = {} if model.tolerance is None else {Precision.FP32: model.tolerance}
        tolerance = BuildRequest(tolerances=tolerances).tolerance(precision, converted.arithmetic)
        verification = judge(comparisons, compared="", inputs="", tolerance=tolerance)
        row.figures[precision.value] = _figures(verification)
        with row.timed(f"build {precision}"):
            row.figures[precision.value] |= await _built(graph, converted, precision, bench, work)


async def _converted(
    model: ZooModel, saved_model: Path, made: Path, bench: Bench, work: Path
) -> tuple[int, Converted]:
    """Convert with the first opset that has a form for every operation, as the flow does."""
    samples = made / "samples.npz"
    *tried, last = base_opsets(bench.target)
    for opset in (*tried, last):
        wanted = ConversionWanted(
            signature=model.signature,
            shapes=model.shapes(),
            opset=opset,
            samples=samples if samples.exists() else None,
        )
        try:
            return opset, await convert_saved_model(
                saved_model, wanted, work=Workspace(folder=work, limits=bench.limits)
            )
        except OperationUnsupported:
            if opset == last:
                raise
    raise AssertionError("there is at least one opset")


def _figures(verification: Verification) -> dict[str, Any]:
    worst = verification.worst
    return {
        "verdict": verification.verdict.value,
        "reason": verification.reason,
        "error": None if worst is None else worst.relative,
        "noise": max((comparison.noise for comparison in verification.comparisons), default=None),
        "top1": min(
            (comparison.top1 for comparison in verification.comparisons if comparison.top1 is not None),
            default=None,
        ),
    }


async def _built(
    graph: LoweredGraph, converted: Converted, precision: Precision, bench: Bench, work: Path
) -> dict[str, Any]:
    """Return whether TensorRT-RTX builds the graph, and its own words where it does not."""
    job = EngineJob(
        toolchain=bench.toolchain,
        target=bench.target,
        onnx=graph.onnx,
        precision=precision,
        shapes=converted.shapes,
        workspace_mib=4096,
        optimization_level=3,
        gpu_index=None,
    )
    try:
        engine = await build_engine(job, work=Workspace(folder=work, limits=bench.limits))
    except BuildRefused as error:
        return {"builds": False, "build_error": error.found[:LONGEST_TEXT]}
    except FarmError as error:
        return {"builds": False, "build_error": f"{type(error).__name__}: {error.found}"[:LONGEST_TEXT]}
    size = engine.plan.stat().st_size
    engine.plan.unlink()
    return {"builds": True, "build_seconds": round(engine.seconds["build"], 2), "plan_mib": size / 2**20}
