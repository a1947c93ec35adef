"""The part of `build-release` that makes ONNX graphs: once per release, shared by all targets.

The FP32 graph is the first; graphs of lower precision are made from it, also when it was made long ago:
two conversions of one model are not the same bytes, so nothing is ever converted twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from flows.settings import settings
from tasks.convert import convert
from tasks.domain.digest import BlobRef
from tasks.domain.gpu_table import opset_for
from tasks.domain.keys import conversion_key, conversion_record_key
from tasks.domain.record import ConversionRecord, Verification
from tasks.domain.request import BuildRequest, Precision
from tasks.domain.target import EngineTarget
from tasks.export import export
from tasks.fetch import FetchedRelease, fetch_graph
from tasks.lower import lower
from tasks.onnx.graph import LoweredGraph
from tasks.preflight import preflight
from tasks.publish import publish_conversion, put_blob
from tasks.store.store import Store
from tasks.tensorflow.models import ConversionWanted, Converted, conversion_tools
from tasks.tensorrt.engine import graph_precision
from tasks.verify import Evidence, verify_graph


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionJob:
    """What is converted, and where to.

    Attributes:
        fetched: the release on this host.
        request: what is asked for, after the command line had its say.
        store: URL of the store.
        work: folder for files.
    """

    fetched: FetchedRelease
    request: BuildRequest
    store: str
    work: Path

    def key(self, opset: int, precision: Precision) -> str:
        """Return the digest of all that decides the graph with `opset` in `precision`."""
        release = self.fetched.release
        return conversion_key(
            model_digest=release.model_digest,
            signature=self.request.signature,
            shapes=self.request.inputs,
            samples=release.digest_of(self.request.samples),
            opset=opset,
            graph_precision=precision,
            tolerance=self.request.tolerance(precision),
            tools=conversion_tools(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """The results of the steps of one conversion."""

    opset: int
    converted: Converted
    graph: LoweredGraph
    verification: Verification
    onnx: BlobRef
    reference: BlobRef


async def convert_for(
    job: ConversionJob, targets: tuple[EngineTarget, ...]
) -> dict[tuple[EngineTarget, Precision], ConversionRecord]:
    """Return the graph for each cell: every target at every precision that is asked for.

    Raises:
        FarmError: the model cannot be converted, or a graph does not compute what TensorFlow does.
    """
    cells = {
        (target, precision): (opset_for(target), graph_precision(target, precision))
        for target in targets
        for precision in job.request.precisions
    }
    graphs = {graph: await _find_or_make(job, *graph) for graph in sorted(set(cells.values()))}
    return {cell: graphs[graph] for cell, graph in cells.items()}


async def _find_or_make(job: ConversionJob, opset: int, precision: Precision) -> ConversionRecord:
    found = await asyncio.to_thread(_find, job.store, conversion_record_key(job.key(opset, precision)))
    if found is not None:
        return found
    if precision is Precision.FP32:
        return await _convert(job, opset)
    return await _lower(job, await _find_or_make(job, opset, Precision.FP32), precision)


def _find(store_url: str, key: str) -> ConversionRecord | None:
    store = Store.connect(store_url)
    record = store.find_conversion(key)
    if record is not None:
        store.require_blobs(key, record.onnx, record.reference)
    return record


async def _convert(job: ConversionJob, opset: int) -> ConversionRecord:
    """Convert the release to FP32, check it against TensorFlow and publish it."""
    work, limits = job.work, settings().limits
    model = await preflight(job.fetched.model, workdir=work, limits=limits)
    saved_model = await export(model, workdir=work, limits=limits)
    wanted = ConversionWanted(
        signature=job.request.signature,
        shapes=job.request.inputs,
        opset=opset,
        samples=job.fetched.samples,
    )
    converted = await convert(saved_model, wanted, workdir=work, limits=limits)
    graph = await lower(converted.onnx, Precision.FP32, workdir=work, limits=limits)
    evidence = Evidence(
        reference=converted.reference,
        inputs=converted.samples_used,
        tolerance=job.request.tolerance(Precision.FP32),
        tensorflow=conversion_tools()["tensorflow-cpu"],
    )
    verification = await verify_graph(graph.onnx, Precision.FP32, evidence, workdir=work, limits=limits)
    made = _Made(
        opset=opset,
        converted=converted,
        graph=graph,
        verification=verification,
        onnx=await put_blob(job.store, graph.onnx),
        reference=await put_blob(job.store, converted.reference),
    )
    return await publish_conversion(job.store, _base_record(job, made))


def _base_record(job: ConversionJob, made: _Made) -> ConversionRecord:
    converted, graph = made.converted, made.graph
    return ConversionRecord(
        key=job.key(made.opset, Precision.FP32),
        release_digest=job.fetched.release.model_digest,
        signature=converted.signature,
        opset=made.opset,
        graph_precision=Precision.FP32,
        onnx=made.onnx,
        reference=made.reference,
        inputs=converted.inputs,
        outputs=converted.outputs,
        shapes=converted.shapes,
        derived_shapes=converted.derived_shapes,
        verification=made.verification,
        seconds={**converted.seconds, "lower": graph.seconds},
        peak_mib=max(converted.peak_mib, graph.peak_mib),
        tools=conversion_tools(),
    )


async def _lower(job: ConversionJob, base: ConversionRecord, precision: Precision) -> ConversionRecord:
    """Write `precision` into the graph of `base`, check it against TensorFlow and publish it."""
    work, limits = job.work, settings().limits
    source = await fetch_graph(job.store, base, work)
    graph = await lower(source.onnx, precision, workdir=work, limits=limits)
    evidence = Evidence(
        reference=source.reference,
        inputs=base.verification.inputs,
        tolerance=job.request.tolerance(precision),
        tensorflow=base.tools["tensorflow-cpu"],
    )
    verification = await verify_graph(graph.onnx, precision, evidence, workdir=work, limits=limits)
    record = replace(
        base,
        key=job.key(base.opset, precision),
        graph_precision=precision,
        onnx=await put_blob(job.store, graph.onnx),
        verification=verification,
        seconds={**base.seconds, f"lower to {precision}": graph.seconds},
        peak_mib=max(base.peak_mib, graph.peak_mib),
    )
    return await publish_conversion(job.store, record)
