"""What one run of `build-release` converts, and by which names the store knows the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.children.workspace import Workspace
from tasks.domain.gate import wanted_top1
from tasks.domain.keys import conversion_key, conversion_record_key
from tasks.domain.order import cell_options
from tasks.domain.record import ConversionRecord
from tasks.domain.request import QUANTISED, BuildRequest, Precision
from tasks.fetch import FetchedRelease
from tasks.onnx.graph import GraphWanted, LoweredGraph
from tasks.quarantine import Suspect
from tasks.store.lease import Lease
from tasks.store.store import Store
from tasks.tensorflow.models import Converted, conversion_tools
from tasks.verify import Evidence


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
    work: Workspace

    def key(self, opset: int, precision: Precision) -> str:
        """Return the digest of all that decides the graph with `opset` in `precision`."""
        release, request = self.fetched.release, self.request
        return conversion_key(
            model_digest=release.model_digest,
            signature=request.signature,
            shapes=(request.inputs, *request.profiles),
            samples=release.digest_of(request.samples),
            opset=opset,
            graph_precision=precision,
            calibration=request.calibration if precision in QUANTISED else None,
            tolerance=request.tolerance(precision),
            top1=request.top1.get(precision),
            plugin_ops=request.plugin_ops,
            tools=conversion_tools(),
        )

    def form(self, base: ConversionRecord, opset: int, precision: Precision) -> GraphWanted:
        """Return what the graph of `base` becomes in `precision`."""
        return GraphWanted(
            precision=precision,
            opset=opset,
            samples=self.fetched.samples,
            calibration=self.request.calibration,
            shapes=base.shapes,
            tolerance=self.request.tolerance(precision, base.arithmetic),
        )

    def evidence(
        self, precision: Precision, reference: Path, inputs: str, source: Converted | ConversionRecord
    ) -> Evidence:
        """Return what a graph in `precision`, made from `source`, is held against; see `Evidence`."""
        tools = source.tools if isinstance(source, ConversionRecord) else conversion_tools()
        asked, samples = self.request.top1.get(precision), self.request.samples
        return Evidence(
            reference=reference,
            inputs=inputs,
            tolerance=self.request.tolerance(precision, source.arithmetic),
            top1=wanted_top1(precision, asked, samples=samples is not None),
            tensorflow=tools["tensorflow-cpu"],
            arithmetic=source.arithmetic,
            plugin_ops=source.plugin_ops,
        )

    def lease(self, opset: int, precision: Precision) -> Lease:
        """Return the lease of that graph: of all runs that want it at the same moment, one makes it."""
        return Lease(store=Store.connect(self.store), key=conversion_record_key(self.key(opset, precision)))

    def suspect(
        self,
        graph: LoweredGraph,
        form: GraphWanted,
        evidence: Evidence,
        source: Converted | ConversionRecord,
    ) -> Suspect:
        """Return what goes to quarantine if `graph`, made from `source`, does not pass the gate."""
        release = self.fetched.release
        return Suspect(
            store=self.store,
            identity=self.key(form.opset, form.precision),
            release=release,
            opset=form.opset,
            options=cell_options(release, self.request, form.precision, source),
            onnx=graph.onnx,
            weights=graph.weights,
            reference=evidence.reference,
            actual=evidence.actual,
            inputs=evidence.inputs,
            tools=conversion_tools(),
        )
