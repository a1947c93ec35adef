"""The parent's side of the ONNX work: starts the children and reads their answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tasks.children.run import ChildProgram, Limits, run_child
from tasks.domain.quantisation import Quantisation
from tasks.domain.record import Comparison
from tasks.domain.request import Calibration, Precision

_ONE_FILE = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphWanted:
    """What a graph is lowered to.

    Attributes:
        precision: the arithmetic to write into it; TF32 is none, it is a flag of the build.
        opset: ONNX opset, at least that of the raw graph.
        samples: an `.npz` with arrays by input name, first dimension the batch; INT8 and FP8 need it.
        calibration: how INT8 and FP8 choose their ranges.
    """

    precision: Precision
    opset: int
    samples: Path | None = None
    calibration: Calibration = Calibration.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredGraph:
    """A graph that is ready for TensorRT.

    Attributes:
        onnx: the file.
        weights: its external data, beside it; None where one file holds all.
        quantisation: how it was quantised; None where it was not.
        nodes: number of nodes, those of subgraphs included.
        nodes_before: the same before lowering.
        seconds: wall time of the child process.
        peak_mib: most resident memory of the child process, in MiB.
    """

    onnx: Path
    weights: Path | None = None
    quantisation: Quantisation | None = None
    nodes: int
    nodes_before: int
    seconds: float
    peak_mib: float


async def lower_graph(
    raw: Path, wanted: GraphWanted, *, workdir: Path, limits: Limits, one_file: int = _ONE_FILE
) -> LoweredGraph:
    """Simplify `raw`, write the precision into it, and check the result.

    Names, order and element types of inputs and outputs stay as they are.

    Args:
        raw: the graph; where it has external data, in `WEIGHTS_FILE` beside it.
        wanted: what it is lowered to.
        workdir: folder for files; the result lies in a folder of its own below it.
        limits: what the child may use.
        one_file: up to so many bytes of large weights, the result is one file.

    Raises:
        OperationUnsupported: the result is not valid ONNX, or has other inputs or outputs, or an operation
            has no form in the opset.
        ModelRefused: the graph refers to weights elsewhere than beside it.
        FarmError: the child process failed, see `run_child`.
    """
    request = _lowering(raw, wanted, workdir, one_file)
    program = ChildProgram(module="tasks.onnx.lower_child", step=f"lower-{wanted.precision}")
    answer = await run_child(program, request, workdir=workdir, limits=limits)
    return LoweredGraph(
        onnx=Path(request["lowered"]),
        weights=None if answer.result["weights"] is None else Path(answer.result["weights"]),
        nodes=answer.result["nodes"],
        nodes_before=answer.result["nodes_before"],
        seconds=answer.seconds,
        peak_mib=answer.peak_mib,
    )


def _lowering(raw: Path, wanted: GraphWanted, workdir: Path, one_file: int) -> dict[str, Any]:
    own = mkdtemp(prefix=f"lowered-{wanted.precision}-", dir=workdir.absolute())
    return {
        "raw": str(raw.absolute()),
        "lowered": str(Path(own) / "model.onnx"),
        "precision": wanted.precision.value,
        "opset": wanted.opset,
        "one_file": one_file,
    }


async def compare_graph(
    onnx: Path, reference: Path, *, actual: Path | None = None, workdir: Path, limits: Limits
) -> tuple[Comparison, ...]:
    """Run the graph `onnx` in onnxruntime on the CPU and compare with TensorFlow's outputs.

    Args:
        onnx: the graph.
        reference: inputs and TensorFlow's outputs, see `tasks.children.reference`.
        actual: where onnxruntime's outputs are left, in the same layout, up to where the graph stops; None
            to forget them.
        workdir: folder for temporary files.
        limits: what the child process may use.

    Returns:
        One comparison per corner and output.

    Raises:
        VerificationFailed: onnxruntime cannot run the graph, or the file lacks one of its inputs.
        FarmError: the child process failed, see `run_child`.
    """
    answer = await run_child(
        ChildProgram(module="tasks.onnx.compare_child", step="compare"),
        _comparison(onnx, reference, actual),
        workdir=workdir,
        limits=limits,
    )
    return tuple(Comparison(**row) for row in answer.result["comparisons"])


def _comparison(onnx: Path, reference: Path, actual: Path | None) -> dict[str, Any]:
    return {
        "onnx": str(onnx.absolute()),
        "reference": str(reference.absolute()),
        "actual": None if actual is None else str(actual.absolute()),
    }
