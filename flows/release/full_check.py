"""A folder's model, loaded, converted and compared with TensorFlow on this host alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from flows.release.folder_check import CheckedFolder
from tasks.children.workspace import Workspace
from tasks.domain.cells import listed_errors
from tasks.domain.errors import CellsFailed, FarmError, OperationUnsupported
from tasks.domain.gate import judge, not_measured, require_pass, wanted_top1
from tasks.domain.gpu_table import gpu_table, graph_opset
from tasks.domain.record import Verification
from tasks.domain.release import ModelFormat
from tasks.domain.request import BuildRequest, Precision
from tasks.onnx.graph import GraphWanted, compare_graph, lower_graph
from tasks.onnx_release.models import CheckedOnnx, preflight_onnx, take_in
from tasks.tensorflow.models import (
    ConversionWanted,
    Converted,
    LocalModel,
    convert_saved_model,
    export_saved_model,
    preflight_model,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedGraph:
    """The graph of one precision.

    Attributes:
        precision: what is written into the graph.
        opset: its ONNX opset.
        nodes: number of nodes; 0 if there is no such graph.
        outcome: how it compares with TensorFlow, or why it does not pass.
    """

    precision: Precision
    opset: int
    nodes: int
    outcome: Verification | FarmError


async def check_model(checked: CheckedFolder, form: ModelFormat, work: Workspace) -> LocalModel:
    """Check the files of the model as the farm does before TensorFlow loads them; return a clean copy.

    Raises:
        FarmError: as `preflight_model`.
    """
    if form is ModelFormat.ONNX:
        return LocalModel(format=form, path=(await preflight_onnx(checked.folder / form, work=work)).onnx)
    return await preflight_model(LocalModel(format=form, path=checked.folder / form), work=work)


async def check_conversion(checked: CheckedFolder, form: ModelFormat, work: Workspace) -> list[CheckedGraph]:
    """Convert the model of `checked`, and compare the graph of each precision with TensorFlow.

    Raises:
        FarmError: the model cannot be loaded or converted.
    """
    request, samples = checked.request, checked.request.samples
    wanted = ConversionWanted(
        signature=request.signature,
        shapes=request.inputs,
        profiles=request.profiles,
        opset=gpu_table().base_opsets[0],
        samples=None if samples is None else checked.files[samples],
        plugin_ops=request.plugin_ops,
    )
    if form is ModelFormat.ONNX:
        opset, converted = await _taken_in(
            await preflight_onnx(checked.folder / form, work=work), wanted, work
        )
    else:
        saved_model = await export_saved_model(await check_model(checked, form, work), work=work)
        opset, converted = await _converted(saved_model, wanted, work)
    graphs = _Graphs(request=request, converted=converted, samples=wanted.samples, work=work)
    # TF32 is a flag of the build.
    precisions = (each for each in (Precision.FP32, *request.precisions) if each is not Precision.TF32)
    return [await graphs.check(precision, opset) for precision in dict.fromkeys(precisions)]


async def _taken_in(model: CheckedOnnx, wanted: ConversionWanted, work: Workspace) -> tuple[int, Converted]:
    """Let onnxruntime answer; return the opset that the graph gets, and the answers."""
    opset = max(gpu_table().base_opsets[0], model.opset)
    return opset, await take_in(model, replace(wanted, opset=opset), work=work)


async def _converted(saved_model: Path, wanted: ConversionWanted, work: Workspace) -> tuple[int, Converted]:
    """Convert with the first opset that the model has a form in; return both."""
    *first, last = gpu_table().base_opsets
    for opset in first:
        with suppress(OperationUnsupported):
            return opset, await convert_saved_model(saved_model, replace(wanted, opset=opset), work=work)
    return last, await convert_saved_model(saved_model, replace(wanted, opset=last), work=work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graphs:
    """A converted model, of which graphs in several precisions are made."""

    request: BuildRequest
    converted: Converted
    samples: Path | None
    work: Workspace

    async def check(self, precision: Precision, base_opset: int) -> CheckedGraph:
        """Write `precision` into the graph and compare the result with TensorFlow."""
        opset = graph_opset(base_opset, precision)
        nodes = 0
        try:
            lowered = await lower_graph(self.converted.onnx, self._form(precision, opset), work=self.work)
            nodes = lowered.nodes
            outcome: Verification | FarmError = await self._compared(lowered.onnx, precision)
        except FarmError as error:
            outcome = error
        return CheckedGraph(precision=precision, opset=opset, nodes=nodes, outcome=outcome)

    def _form(self, precision: Precision, opset: int) -> GraphWanted:
        return GraphWanted(
            precision=precision,
            opset=opset,
            samples=self.samples,
            calibration=self.request.calibration,
            shapes=self.converted.shapes,
            tolerance=self.request.tolerance(precision, self.converted.arithmetic),
        )

    async def _compared(self, onnx: Path, precision: Precision) -> Verification:
        tolerance = self.request.tolerance(precision, self.converted.arithmetic)
        if self.converted.plugin_ops:
            reason = f"only TensorRT plugins compute {', '.join(self.converted.plugin_ops)}"
            return not_measured(tolerance=tolerance, reason=reason)
        comparisons = await compare_graph(onnx, self.converted.reference, work=self.work)
        verification = judge(
            comparisons,
            compared=f"the ONNX graph in onnxruntime {version('onnxruntime')}"
            + (f" against {self.converted.answered_by}" if self.converted.answered_by else ""),
            inputs=self.converted.samples_used,
            tolerance=tolerance,
            top1=wanted_top1(precision, self.request.top1.get(precision), samples=self.samples is not None),
        )
        return require_pass(verification, f"the ONNX graph in {precision}")


def failure_of_graphs(graphs: Sequence[CheckedGraph]) -> FarmError | None:
    """Return why graphs do not pass: the error of the only one, or one that lists them; None if all pass."""
    errors = {str(each.precision): each.outcome for each in graphs if isinstance(each.outcome, FarmError)}
    if len(errors) <= 1:
        return next(iter(errors.values()), None)
    return CellsFailed(
        wanted="a graph that computes what TensorFlow does, in each precision",
        found=f"{len(errors)} of {len(graphs)} fail:\n{listed_errors(errors)}",
        fix="see the advice of each",
        cells=errors,
    )
