"""The parent's side of the ONNX work: starts the children and reads their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tasks.children.run import ChildProgram
from tasks.children.workspace import Workspace
from tasks.domain.departure import InnerTensor, InnerValues
from tasks.domain.errors import RequestInvalid
from tasks.domain.quantisation import Quantisation
from tasks.domain.record import Comparison
from tasks.domain.request import DEFAULT_TOLERANCES, QUANTISED, Calibration, Precision, ShapeRange

_ONE_FILE = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphWanted:
    """The form that a graph is lowered to.

    Attributes:
        precision: the arithmetic to write into it; never TF32, which is a flag of the build.
        opset: ONNX opset, at least that of the raw graph.
        samples: an `.npz` with arrays by input name, first dimension the batch; INT8 and FP8 need it.
        calibration: how INT8 and FP8 choose their ranges.
        shapes: the requested shapes by input; samples are repeated or cut to them.
        tolerance: the largest accepted error, if it is not the precision's default; operations that exceed it
            are not quantised.
    """

    precision: Precision
    opset: int
    samples: Path | None = None
    calibration: Calibration = Calibration.AUTO
    shapes: Mapping[str, ShapeRange] = field(default_factory=dict)
    tolerance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredGraph:
    """A graph that is ready for TensorRT.

    Attributes:
        onnx: the file.
        weights: its external data, beside it; None if it is a single file.
        quantisation: how it was quantised; None if it was not.
        nodes: number of nodes, including those of subgraphs.
        nodes_before: the number before lowering.
        seconds: wall time of the child process.
        peak_mib: peak resident memory of the child process, in MiB.
    """

    onnx: Path
    weights: Path | None = None
    quantisation: Quantisation | None = None
    nodes: int
    nodes_before: int
    seconds: float
    peak_mib: float


async def lower_graph(
    raw: Path, wanted: GraphWanted, *, work: Workspace, one_file: int = _ONE_FILE
) -> LoweredGraph:
    """Simplify `raw`, write the precision into it, and check the result.

    Names, order and element types of inputs and outputs do not change.

    Args:
        raw: the graph; its external data, if any, is in `WEIGHTS_FILE` beside it.
        wanted: the form to lower it to.
        work: for files and the child; the result is in a folder of its own below it.
        one_file: up to this many bytes of large weights, the result is a single file.

    Raises:
        OperationUnsupported: the result is not valid ONNX, or has other inputs or outputs, or an operation
            has no form in the opset.
        ModelRefused: the graph refers to weights outside the file beside it.
        RequestInvalid: INT8 or FP8 is wanted without samples, or no operation of the graph can be in it.
        SamplesInvalid: the samples do not fit the graph's inputs.
        FarmError: the child process failed, see `run_child`.
    """
    request = _lowering(raw, wanted, work, one_file)
    program = ChildProgram(module="tasks.onnx.lower_child", step=f"lower-{wanted.precision}")
    answer = await work.run(program, request)
    return LoweredGraph(
        onnx=Path(request["lowered"]),
        weights=None if answer.result["weights"] is None else Path(answer.result["weights"]),
        quantisation=_quantisation(answer.result["quantisation"]),
        nodes=answer.result["nodes"],
        nodes_before=answer.result["nodes_before"],
        seconds=answer.seconds,
        peak_mib=answer.peak_mib,
    )


def _lowering(raw: Path, wanted: GraphWanted, work: Workspace, one_file: int) -> dict[str, Any]:
    if wanted.precision in QUANTISED and wanted.samples is None:
        raise RequestInvalid(
            wanted=f"samples to measure the value ranges of {wanted.precision} on",
            found="none in build.yaml",
            fix="add an .npz with one array per input to the release and name it in `samples`, "
            f"or leave {wanted.precision} out of precisions",
        )
    folder = work.new(f"lowered-{wanted.precision}")
    folder.mkdir()
    return {
        "raw": raw,
        "folder": raw.parent,  # opens the weights beside the graph, too
        "lowered": str(Path(folder) / "model.onnx"),
        "precision": wanted.precision.value,
        "opset": wanted.opset,
        "one_file": one_file,
        "samples": wanted.samples,
        "calibration": wanted.calibration.value,
        "shapes": {name: asdict(shapes) for name, shapes in wanted.shapes.items()},
        "tolerance": wanted.tolerance or DEFAULT_TOLERANCES[wanted.precision],
    }


def _quantisation(document: dict[str, Any] | None) -> Quantisation | None:
    if document is None:
        return None
    errors = {Calibration(name): error for name, error in document["errors"].items()}
    return Quantisation(**document | {"calibration": Calibration(document["calibration"]), "errors": errors})


async def compare_graph(
    onnx: Path, reference: Path, *, actual: Path | None = None, work: Workspace
) -> tuple[Comparison, ...]:
    """Run the graph `onnx` in onnxruntime on the CPU and compare with TensorFlow's outputs.

    Args:
        onnx: the graph.
        reference: inputs and TensorFlow's outputs, see `tasks.children.reference`.
        actual: where to write onnxruntime's outputs, in the same layout, as far as the graph runs; None:
            nowhere.
        work: for temporary files and the child.

    Returns:
        One comparison per corner and output.

    Raises:
        VerificationFailed: onnxruntime cannot run the graph, or the file lacks one of its inputs.
        FarmError: the child process failed, see `run_child`.
    """
    answer = await work.run(
        ChildProgram(module="tasks.onnx.compare_child", step="compare"), _comparison(onnx, reference, actual)
    )
    return tuple(Comparison(**row) for row in answer.result["comparisons"])


async def inner_values(onnx: Path, reference: Path, corner: str, *, work: Workspace) -> InnerValues:
    """Return what onnxruntime computes for the tensors inside `onnx`, at one corner of `reference`.

    Args:
        onnx: the graph.
        reference: inputs and TensorFlow's outputs, see `tasks.children.reference`.
        corner: name of the corner.
        work: for the values, temporary files and the child; an eighth of its memory is for the values.

    Raises:
        VerificationFailed: onnxruntime does not run the graph with all of these tensors as outputs.
        FarmError: the child process failed, see `run_child`.
    """
    values = _new_values(work)
    request = {
        "onnx": onnx,
        "folder": onnx.parent,
        "reference": reference,
        "corner": corner,
        "values": str(values),
        "most_mib": work.limits.memory_mib // 8,
    }
    program = ChildProgram(module="tasks.onnx.intermediates_child", step="inner values")
    answer = await work.run(program, request)
    tensors = tuple(InnerTensor(**row) for row in answer.result["tensors"])
    return InnerValues(corner=corner, file=values, tensors=tensors)


def _new_values(work: Workspace) -> Path:
    """Return an absolute path for a child, which has another working folder."""
    folder = work.new("values")
    folder.mkdir()
    return folder / "values.npz"


def _comparison(onnx: Path, reference: Path, actual: Path | None) -> dict[str, Any]:
    return {
        "onnx": onnx,
        "folder": onnx.parent,  # opens the weights beside the graph, too
        "reference": reference,
        "actual": None if actual is None else str(actual.absolute()),
    }
