"""The part of `build-release` that creates ONNX graphs: once per release, shared by all targets.

Graphs of lower precision are made from the FP32 graph, even if that was stored long ago: two conversions of
the same model differ in their bytes, so nothing is ever converted twice.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from flows.pages.sandbox import show_sandbox
from flows.server.step_log import log_step
from flows.settings import settings
from tasks.children.program import Confinement
from tasks.children.sandbox import protection
from tasks.conversion_job import ConversionJob, GraphJob
from tasks.convert import answer, convert
from tasks.domain.cells import Cell
from tasks.domain.digest import BlobRef
from tasks.domain.errors import FarmError, OperationUnsupported, RequestInvalid
from tasks.domain.gpu_table import base_opsets, device_slug, graph_opset
from tasks.domain.order_check import check_conversion
from tasks.domain.record import ConversionRecord, Verification
from tasks.domain.release import ModelFormat
from tasks.domain.request import QUANTISED, Precision
from tasks.domain.step_text import graph_text
from tasks.export import export
from tasks.fetch import fetch_graph
from tasks.lower import lower
from tasks.onnx.graph import GraphWanted, LoweredGraph
from tasks.onnx_release.models import CheckedOnnx
from tasks.preflight import preflight, preflight_graph
from tasks.publish import publish_conversion, put_blob
from tasks.quarantine import quarantining
from tasks.step import steps_of
from tasks.store.once import make_once
from tasks.store.patience import retry_while_s3_is_down
from tasks.store.signatures import require_signed_if_demanded
from tasks.store.store import Store
from tasks.tensorflow.models import ConversionWanted, Converted
from tasks.tensorrt.engine import graph_precision
from tasks.verify import Evidence, verify_graph

_SHOWN_DEVICES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verified:
    """A graph that passed the gate, in the store."""

    verification: Verification
    onnx: BlobRef
    weights: BlobRef | None


async def convert_for(
    job: ConversionJob, cells: tuple[Cell, ...]
) -> dict[Cell, ConversionRecord | FarmError]:
    """Return the graph for each cell, or why it has none.

    If the graph of a precision does not compute what TensorFlow does, the other precisions get theirs all the
    same.
    """
    form = job.fetched.release.format
    bases: dict[tuple[int, ...], ConversionRecord | FarmError] = {}
    graphs: dict[tuple[tuple[int, ...], Precision], ConversionRecord | FarmError] = {}
    graph_of_cell = {}
    for target, precision in cells:
        opsets, written = base_opsets(target, form), graph_precision(target, precision)
        if opsets not in bases:
            with steps_of(_label(cells, opsets, Precision.FP32, form)):
                bases[opsets] = await _or_error(_base(job, opsets))
        base = bases[opsets]
        if (opsets, written) not in graphs:
            with steps_of(_label(cells, opsets, written, form)):
                graphs[opsets, written] = (
                    base
                    if isinstance(base, FarmError)
                    else await _or_error(_in_precision(job, base, written))
                )
        graph_of_cell[target, precision] = graphs[opsets, written]
    return graph_of_cell


def _label(cells: tuple[Cell, ...], opsets: tuple[int, ...], written: Precision, form: ModelFormat) -> str:
    """Return the targets that a graph is for, and its precision, for the names of its steps."""
    devices = dict.fromkeys(
        device_slug(target)
        for target, precision in cells
        if base_opsets(target, form) == opsets
        and written in {Precision.FP32, graph_precision(target, precision)}
    )
    shown = ", ".join(list(devices)[:_SHOWN_DEVICES])
    others = len(devices) - _SHOWN_DEVICES
    return f"{shown}{f' and {others} more' if others > 0 else ''} {written}"


async def _or_error(conversion: Awaitable[ConversionRecord]) -> ConversionRecord | FarmError:
    try:
        return await conversion
    except FarmError as error:
        return error


async def _base(job: ConversionJob, opsets: tuple[int, ...]) -> ConversionRecord:
    """Return the FP32 graph in the first of `opsets` that can express the model."""
    graphs = [job.graph(opset, Precision.FP32) for opset in opsets]

    async def find() -> ConversionRecord | None:
        for graph in graphs:
            record = await _stored(graph)
            if record is not None:
                return record
        return None

    async def make() -> ConversionRecord:
        model = await _model(job)
        for graph in graphs[:-1]:
            with suppress(OperationUnsupported):
                return await _convert(graph, model)
        return await _convert(graphs[-1], model)

    return await make_once(graphs[0].lease(), find, make)


async def _in_precision(job: ConversionJob, base: ConversionRecord, precision: Precision) -> ConversionRecord:
    if precision is Precision.FP32:
        return base
    if base.plugin_ops and precision in QUANTISED:
        raise RequestInvalid(
            wanted=f"{precision}, whose ranges are measured by running the graph",
            found=f"operations that only TensorRT plugins compute: {', '.join(base.plugin_ops)}",
            fix=f"leave {precision} out of precisions, or replace these operations in the model",
        )
    graph = job.graph(graph_opset(base.opset, precision), precision)
    return await make_once(graph.lease(), lambda: _stored(graph), lambda: _lower(graph, base))


async def _stored(graph: GraphJob) -> ConversionRecord | None:
    record = await retry_while_s3_is_down(lambda: _find(graph.job.store, graph.record_key))
    if record is not None:
        check_conversion(record, graph.job.fetched.release, graph.job.request, graph.precision)
        log_step(f"graph in {graph.precision}: found {graph.record_key}")
    return record


def _find(store_url: str, key: str) -> ConversionRecord | None:
    store = Store.connect(store_url)
    document = store.find_document(key, ConversionRecord)
    if document is None:
        return None
    require_signed_if_demanded(store, key, document.data)
    store.require_blobs(key, *document.record.blobs)
    return document.record


async def _model(job: ConversionJob) -> Path | CheckedOnnx:
    """Return the model as a SavedModel, or as a checked graph if it is ONNX already."""
    await show_sandbox("the model", Confinement.FULL)
    if job.fetched.release.format is ModelFormat.ONNX:
        return await preflight_graph(job.fetched.model.path, work=job.work)
    model = await preflight(job.fetched.model, work=job.work)
    return await export(model, work=job.work)


async def _converted(job: ConversionJob, model: Path | CheckedOnnx, opset: int) -> Converted:
    wanted = ConversionWanted(
        signature=job.request.signature,
        shapes=job.request.inputs,
        profiles=job.request.profiles,
        opset=opset,
        samples=job.fetched.samples,
        plugin_ops=job.request.plugin_ops,
    )
    if isinstance(model, CheckedOnnx):
        return await answer(model, wanted, work=job.work)
    return await convert(model, wanted, work=job.work)


async def _in_fp32(graph: GraphJob, converted: Converted) -> tuple[LoweredGraph, _Verified]:
    form = GraphWanted(precision=Precision.FP32, opset=graph.opset)
    lowered = await lower(converted.onnx, form, work=graph.job.work)
    evidence = graph.evidence(converted.reference, converted.samples_used, converted)
    return lowered, await _verify_and_store(graph, lowered, evidence, converted)


async def _convert(graph: GraphJob, model: Path | CheckedOnnx) -> ConversionRecord:
    """Convert the release to FP32, check it against its reference and publish it."""
    job = graph.job
    converted = await _converted(job, model, graph.opset)
    lowered, verified = await _in_fp32(graph, converted)
    record = ConversionRecord(
        key=graph.key,
        release_digest=job.fetched.release.model_digest,
        signature=converted.signature,
        opset=graph.opset,
        graph_precision=Precision.FP32,
        arithmetic=converted.arithmetic,
        loaded_by=converted.loaded_by,
        answered_by=converted.answered_by,
        onnx=verified.onnx,
        weights=verified.weights,
        reference=await put_blob(job.store, converted.reference),
        inputs=converted.inputs,
        outputs=converted.outputs,
        shapes=converted.shapes,
        further_profiles=converted.further_profiles,
        derived_shapes=converted.derived_shapes,
        plugin_ops=converted.plugin_ops,
        denied_to_model=protection().denied,
        verification=verified.verification,
        seconds={**converted.seconds, "lower": lowered.seconds},
        peak_mib=max(converted.peak_mib, lowered.peak_mib),
        tools=job.tools,
    )
    return await publish_conversion(job.store, record, signing_key=settings().signing_key)


async def _lower(graph: GraphJob, base: ConversionRecord) -> ConversionRecord:
    """Write the precision into the graph of `base`, check it against TensorFlow and publish it."""
    job = graph.job
    source = await fetch_graph(job.store, base, job.work.folder)
    lowered = await lower(source.onnx, graph.form(base), work=job.work)
    evidence = graph.evidence(source.reference, base.verification.inputs, base)
    verified = await _verify_and_store(graph, lowered, evidence, base)
    record = replace(
        base,
        key=graph.key,
        opset=graph.opset,
        graph_precision=graph.precision,
        onnx=verified.onnx,
        weights=verified.weights,
        verification=verified.verification,
        quantisation=lowered.quantisation,
        seconds={**base.seconds, f"lower to {graph.precision}": lowered.seconds},
        peak_mib=max(base.peak_mib, lowered.peak_mib),
    )
    return await publish_conversion(job.store, record, signing_key=settings().signing_key)


async def _verify_and_store(
    graph: GraphJob, lowered: LoweredGraph, evidence: Evidence, source: Converted | ConversionRecord
) -> _Verified:
    job = graph.job
    async with quarantining(graph.suspect(lowered, evidence, source)):
        verification = await verify_graph(lowered.onnx, graph.precision, evidence, work=job.work)
    onnx = await put_blob(job.store, lowered.onnx)
    weights = None if lowered.weights is None else await put_blob(job.store, lowered.weights)
    log_step(
        graph_text(
            graph.precision,
            opset=graph.opset,
            nodes=lowered.nodes,
            size=onnx.size + (weights.size if weights else 0),
            verification=verification,
            key=graph.record_key,
        )
    )
    return _Verified(verification=verification, onnx=onnx, weights=weights)
