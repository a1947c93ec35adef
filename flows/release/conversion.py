"""The part of `build-release` that makes ONNX graphs: once per release, shared by all targets.

The FP32 graph is the first; graphs of lower precision are made from it, also when it was made long ago:
two conversions of one model are not the same bytes, so nothing is ever converted twice.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.conversion_job import ConversionJob
from tasks.convert import convert
from tasks.domain.cells import Cell
from tasks.domain.digest import BlobRef
from tasks.domain.errors import OperationUnsupported, RequestInvalid
from tasks.domain.gpu_table import base_opsets, graph_opset
from tasks.domain.keys import conversion_record_key
from tasks.domain.record import ConversionRecord, Verification
from tasks.domain.request import QUANTISED, Precision
from tasks.export import export
from tasks.fetch import fetch_graph
from tasks.lower import lower
from tasks.onnx.graph import GraphWanted, LoweredGraph
from tasks.preflight import preflight
from tasks.publish import publish_conversion, put_blob
from tasks.quarantine import quarantining
from tasks.store.once import once
from tasks.store.patience import retry_while_s3_is_down
from tasks.store.store import Store
from tasks.tensorflow.models import ConversionWanted, Converted, conversion_tools
from tasks.tensorrt.engine import graph_precision
from tasks.verify import Evidence, verify_graph


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A graph that passed the gate, in the store."""

    verification: Verification
    onnx: BlobRef
    weights: BlobRef | None


async def convert_for(job: ConversionJob, cells: tuple[Cell, ...]) -> dict[Cell, ConversionRecord]:
    """Return the graph for each cell.

    Raises:
        FarmError: the model cannot be converted, or a graph does not compute what TensorFlow does.
    """
    graphs: dict[tuple[tuple[int, ...], Precision], ConversionRecord] = {}
    answer = {}
    for target, precision in cells:
        wanted = base_opsets(target), graph_precision(target, precision)
        if wanted not in graphs:
            base = await _base(job, base_opsets(target))
            graphs[wanted] = await _in_precision(job, base, graph_precision(target, precision))
        answer[target, precision] = graphs[wanted]
    return answer


async def _base(job: ConversionJob, opsets: tuple[int, ...]) -> ConversionRecord:
    """Return the FP32 graph with the first of `opsets` that the model has a form in."""

    async def find() -> ConversionRecord | None:
        for opset in opsets:
            found = await _found(job, opset, Precision.FP32)
            if found is not None:
                return found
        return None

    async def make() -> ConversionRecord:
        saved_model = await _saved_model(job)
        for opset in opsets[:-1]:
            with suppress(OperationUnsupported):
                return await _convert(job, saved_model, opset)
        return await _convert(job, saved_model, opsets[-1])

    return await once(job.lease(opsets[0], Precision.FP32), find, make)


async def _in_precision(job: ConversionJob, base: ConversionRecord, precision: Precision) -> ConversionRecord:
    if precision is Precision.FP32:
        return base
    if base.plugin_ops and precision in QUANTISED:
        raise RequestInvalid(
            wanted=f"{precision}, whose ranges are measured by running the graph",
            found=f"operations that only TensorRT plugins compute: {', '.join(base.plugin_ops)}",
            fix=f"leave {precision} out of precisions, or replace these operations in the model",
        )
    opset = graph_opset(base.opset, precision)
    return await once(
        job.lease(opset, precision),
        lambda: _found(job, opset, precision),
        lambda: _lower(job, base, opset, precision),
    )


async def _found(job: ConversionJob, opset: int, precision: Precision) -> ConversionRecord | None:
    key = conversion_record_key(job.key(opset, precision))
    return await retry_while_s3_is_down(lambda: _find(job.store, key))


def _find(store_url: str, key: str) -> ConversionRecord | None:
    store = Store.connect(store_url)
    record = store.find(key, ConversionRecord)
    if record is not None:
        store.require_blobs(key, *record.blobs)
    return record


async def _saved_model(job: ConversionJob) -> Path:
    model = await preflight(job.fetched.model, work=job.work)
    return await export(model, work=job.work)


async def _converted(job: ConversionJob, saved_model: Path, opset: int) -> Converted:
    wanted = ConversionWanted(
        signature=job.request.signature,
        shapes=job.request.inputs,
        profiles=job.request.profiles,
        opset=opset,
        samples=job.fetched.samples,
        plugin_ops=job.request.plugin_ops,
    )
    return await convert(saved_model, wanted, work=job.work)


async def _convert(job: ConversionJob, saved_model: Path, opset: int) -> ConversionRecord:
    """Convert the release to FP32, check it against TensorFlow and publish it."""
    converted = await _converted(job, saved_model, opset)
    form = GraphWanted(precision=Precision.FP32, opset=opset)
    graph = await lower(converted.onnx, form, work=job.work)
    evidence = job.evidence(Precision.FP32, converted.reference, converted.samples_used, converted)
    stored = await _verify_and_store(job, graph, form, evidence, converted)
    record = ConversionRecord(
        key=job.key(opset, Precision.FP32),
        release_digest=job.fetched.release.model_digest,
        signature=converted.signature,
        opset=opset,
        graph_precision=Precision.FP32,
        arithmetic=converted.arithmetic,
        onnx=stored.onnx,
        weights=stored.weights,
        reference=await put_blob(job.store, converted.reference),
        inputs=converted.inputs,
        outputs=converted.outputs,
        shapes=converted.shapes,
        further_profiles=converted.further_profiles,
        derived_shapes=converted.derived_shapes,
        plugin_ops=converted.plugin_ops,
        verification=stored.verification,
        seconds={**converted.seconds, "lower": graph.seconds},
        peak_mib=max(converted.peak_mib, graph.peak_mib),
        tools=conversion_tools(),
    )
    return await publish_conversion(job.store, record)


async def _lower(
    job: ConversionJob, base: ConversionRecord, opset: int, precision: Precision
) -> ConversionRecord:
    """Write `precision` into the graph of `base`, check it against TensorFlow and publish it."""
    source = await fetch_graph(job.store, base, job.work.folder)
    form = job.form(base, opset, precision)
    graph = await lower(source.onnx, form, work=job.work)
    evidence = job.evidence(precision, source.reference, base.verification.inputs, base)
    stored = await _verify_and_store(job, graph, form, evidence, base)
    record = replace(
        base,
        key=job.key(opset, precision),
        opset=opset,
        graph_precision=precision,
        onnx=stored.onnx,
        weights=stored.weights,
        verification=stored.verification,
        quantisation=graph.quantisation,
        seconds={**base.seconds, f"lower to {precision}": graph.seconds},
        peak_mib=max(base.peak_mib, graph.peak_mib),
    )
    return await publish_conversion(job.store, record, base=base)


async def _verify_and_store(
    job: ConversionJob,
    graph: LoweredGraph,
    form: GraphWanted,
    evidence: Evidence,
    source: Converted | ConversionRecord,
) -> _Stored:
    async with quarantining(job.suspect(graph, form, evidence, source)):
        verification = await verify_graph(graph.onnx, form.precision, evidence, work=job.work)
    return _Stored(
        verification=verification,
        onnx=await put_blob(job.store, graph.onnx),
        weights=None if graph.weights is None else await put_blob(job.store, graph.weights),
    )
