"""The parent's side of ONNX releases: starts the children that check a model and let onnxruntime answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.children.run import ChildAnswer, ChildProgram
from tasks.children.workspace import Workspace
from tasks.domain.corners import shapes_document
from tasks.domain.errors import OperationUnsupported
from tasks.domain.request import Precision
from tasks.onnx_release.signature import SIGNATURE
from tasks.tensorflow.documents import shapes_of, specs_of
from tasks.tensorflow.models import ConversionWanted, Converted

_PREFLIGHT = ChildProgram(module="tasks.onnx_release.preflight_child", step="preflight")
_ANSWER = ChildProgram(module="tasks.onnx_release.answer_child", step="reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOnnx:
    """An ONNX model that passed preflight.

    Attributes:
        onnx: a copy, in a folder of its own, without functions.
        weights: its large weights, beside it; None if it has none.
        opset: its opset.
        seconds: wall time of the child.
        peak_mib: peak memory of the child.
    """

    onnx: Path
    weights: Path | None
    opset: int
    seconds: float
    peak_mib: float


async def preflight_onnx(model: Path, *, work: Workspace) -> CheckedOnnx:
    """Check the model at `model`, whose external data is beside it; return a clean copy.

    Raises:
        ModelRefused: it has what the farm never runs, or what no engine can hold.
        ModelUnreadable: its files are damaged or missing.
    """
    clean = work.new("onnx") / "model.onnx"
    answer = await work.run(_PREFLIGHT, {"path": model, "folder": model.parent, "clean": str(clean)})
    weights = answer.result["weights"]
    return CheckedOnnx(
        onnx=clean,
        weights=None if weights is None else Path(weights),
        opset=answer.result["opset"],
        seconds=answer.seconds,
        peak_mib=answer.peak_mib,
    )


async def take_in(checked: CheckedOnnx, wanted: ConversionWanted, *, work: Workspace) -> Converted:
    """Let onnxruntime answer at each corner of the shapes; the graph stays as it is.

    Raises:
        OperationUnsupported: its opset is above the wanted one, or only plugins compute operations.
        SignatureUnknown: the request names a signature.
        RequestInvalid: shapes do not fit the model, or cannot be derived.
        SamplesInvalid: the samples do not fit the inputs, or the model takes none of the values.
    """
    if wanted.plugin_ops:
        raise OperationUnsupported(
            wanted="operations that onnxruntime computes, since its answers are the reference",
            found=f"plugin_ops in build.yaml: {', '.join(wanted.plugin_ops)}",
            fix="leave out `plugin_ops`: ONNX releases with plugins are not supported",
        )
    reference = work.new("reference", ".npz")
    request = {
        "onnx": checked.onnx,
        "folder": checked.onnx.parent,
        "reference": str(reference),
        "samples": wanted.samples,
        "opset": wanted.opset,
        "signature": wanted.signature,
        "shapes": shapes_document(wanted.shapes),
        "profiles": [shapes_document(profile) for profile in wanted.profiles],
    }
    return _converted(checked, reference, await work.run(_ANSWER, request))


def _converted(checked: CheckedOnnx, reference: Path, answer: ChildAnswer) -> Converted:
    shapes, *further = (shapes_of(profile) for profile in answer.result["profiles"])
    return Converted(
        onnx=checked.onnx,
        weights=checked.weights,
        reference=reference,
        signature=SIGNATURE,
        inputs=specs_of(answer.result["inputs"]),
        outputs=specs_of(answer.result["outputs"]),
        shapes=shapes,
        further_profiles=tuple(further),
        derived_shapes=tuple(answer.result["derived_shapes"]),
        plugin_ops=(),
        arithmetic=Precision(answer.result["arithmetic"]),
        loaded_by="",
        answered_by=answer.result["answered_by"],
        samples_used=answer.result["samples_used"],
        seconds={"preflight": checked.seconds, "reference": answer.seconds},
        peak_mib=max(checked.peak_mib, answer.peak_mib),
    )
