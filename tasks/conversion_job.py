"""The conversion of one run of `build-release`: the job, and each of its graphs, by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.children.workspace import Workspace
from tasks.domain.gate import wanted_top1
from tasks.domain.graph_key import graph_key
from tasks.domain.keys import conversion_record_key
from tasks.domain.order import cell_options
from tasks.domain.record import ConversionRecord
from tasks.domain.request import BuildRequest, Precision
from tasks.fetch import FetchedRelease
from tasks.onnx.graph import GraphWanted, LoweredGraph
from tasks.quarantine import Suspect
from tasks.store.lease import Lease
from tasks.store.store import Store
from tasks.tensorflow.models import Converted, conversion_tools
from tasks.verify import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionJob:
    """What to convert, and where to store it.

    Attributes:
        fetched: the release on this host.
        request: what to build, with the overrides of the command line.
        store: URL of the store.
        work: the run's workspace.
        tools: versions of all tools that take part in a conversion, by package.
    """

    fetched: FetchedRelease
    request: BuildRequest
    store: str
    work: Workspace
    tools: Mapping[str, str] = field(default_factory=conversion_tools)

    def graph(self, opset: int, precision: Precision) -> GraphJob:
        """Return the part of the job that makes the graph with `opset` in `precision`."""
        key = graph_key(
            self.fetched.release, self.request, opset=opset, precision=precision, tools=self.tools
        )
        return GraphJob(job=self, opset=opset, precision=precision, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphJob:
    """A graph of a conversion; `ConversionJob.graph` makes it.

    Attributes:
        job: the conversion.
        opset: its ONNX opset.
        precision: the precision written into it.
        key: digest of everything that decides it.
    """

    job: ConversionJob
    opset: int
    precision: Precision
    key: str

    @property
    def record_key(self) -> str:
        """The key of its record, relative to the store's root."""
        return conversion_record_key(self.key)

    def lease(self) -> Lease:
        """Return its lease, not taken yet: of all runs that want it at the same time, one makes it."""
        return Lease(store=Store.connect(self.job.store), key=self.record_key)

    def form(self, base: ConversionRecord) -> GraphWanted:
        """Return the form that the graph of `base` is lowered to."""
        job = self.job
        return GraphWanted(
            precision=self.precision,
            opset=self.opset,
            samples=job.fetched.samples,
            calibration=job.request.calibration,
            shapes=base.shapes,
            tolerance=job.request.tolerance(self.precision, base.arithmetic),
        )

    def evidence(self, reference: Path, inputs: str, source: Converted | ConversionRecord) -> Evidence:
        """Return what the graph, made from `source`, is compared with; see `Evidence`."""
        request = self.job.request
        tools = source.tools if isinstance(source, ConversionRecord) else self.job.tools
        asked, samples = request.top1.get(self.precision), request.samples
        return Evidence(
            reference=reference,
            inputs=inputs,
            tolerance=request.tolerance(self.precision, source.arithmetic),
            top1=wanted_top1(self.precision, asked, samples=samples is not None),
            tensorflow=tools.get("tensorflow-cpu", ""),
            answered_by=source.answered_by,
            arithmetic=source.arithmetic,
            loaded_by=source.loaded_by,
            plugin_ops=source.plugin_ops,
        )

    def suspect(
        self, graph: LoweredGraph, evidence: Evidence, source: Converted | ConversionRecord
    ) -> Suspect:
        """Return what goes to quarantine if `graph`, made from `source`, does not pass the gate."""
        job, release = self.job, self.job.fetched.release
        return Suspect(
            store=job.store,
            identity=self.key,
            release=release,
            opset=self.opset,
            options=cell_options(release, job.request, self.precision, source),
            onnx=graph.onnx,
            weights=graph.weights,
            reference=evidence.reference,
            actual=evidence.actual,
            inputs=evidence.inputs,
            tools=job.tools,
        )
