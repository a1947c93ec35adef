"""From a model on this host's disk to an ONNX graph. Starts children; loads no TensorFlow itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tasks.children.counted import CONVERSION
from tasks.children.run import ChildAnswer, ChildProgram
from tasks.children.sources import source_digest
from tasks.children.workspace import Workspace
from tasks.domain.corners import shapes_document
from tasks.domain.record import TensorSpec
from tasks.domain.release import ModelFormat
from tasks.domain.request import Precision, Shapes
from tasks.tensorflow.documents import shapes_of, specs_of

_LOG = logging.getLogger(__name__)
_PREFLIGHT = ChildProgram(module="tasks.tensorflow.preflight.child", step="preflight")
_EXPORT = ChildProgram(module="tasks.tensorflow.export_child", step="export")
_PLAN = ChildProgram(module="tasks.tensorflow.plan_child", step="plan")
_CONVERT = ChildProgram(module="tasks.tensorflow.convert_child", step="convert")
_CONVERT_CHANNELS_FIRST = ChildProgram(module="tasks.tensorflow.channels_first_child", step="convert")
_ARCHIVES = (ModelFormat.SAVED_MODEL_TAR, ModelFormat.SAVED_MODEL_ZIP)
_ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxslim", "numpy")
_PACKAGES = ("tensorflow-cpu", "keras", "tf-keras", "tf2onnx", *_ONNX_PACKAGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model on this host's disk.

    Attributes:
        format: the form of the model.
        path: its file or folder.
    """

    format: ModelFormat
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionWanted:
    """What to convert.

    Attributes:
        signature: name of the signature; None for the only one, or `serving_default`.
        shapes: shapes by input name; omitted inputs get theirs from the signature.
        profiles: for each of several profiles the shapes of the other inputs, see `BuildRequest`.
        opset: ONNX opset of the graph.
        samples: an `.npz` with arrays by input name, first dimension the batch; None to draw numbers.
        plugin_ops: operations that may stay in the graph for TensorRT plugins.
    """

    signature: str | None
    shapes: Shapes
    opset: int
    samples: Path | None
    profiles: tuple[Shapes, ...] = ()
    plugin_ops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A converted signature.

    Attributes:
        onnx: the graph, in a folder of its own; its tensors have the signature's names.
        weights: its large weights, beside it; None if it has none.
        reference: TensorFlow's answers, see `tasks.children.reference`.
        signature: name of the signature.
        inputs: the signature's inputs, sorted by name.
        outputs: its outputs, sorted by name; an output with an input's name gets the suffix `_out`.
        shapes: the shapes of every input, of the first profile.
        further_profiles: the same for each other profile.
        derived_shapes: inputs whose shapes the request left out.
        plugin_ops: operations in the graph that are left to TensorRT plugins.
        arithmetic: the model's own: FP32, or the coarsest of FP16 and BF16 that it computes in.
        loaded_by: which Keras loaded the model's file, and which wrote it; empty for a SavedModel.
        answered_by: what answered instead of TensorFlow, with its version; empty if TensorFlow did.
        samples_used: where the reference's input values came from, for people.
        seconds: wall time of `load`, `reference` and `convert`, and of both children as `total`.
        peak_mib: most resident memory of a child, in MiB.
    """

    onnx: Path
    weights: Path | None
    reference: Path
    signature: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    shapes: Shapes
    further_profiles: tuple[Shapes, ...]
    derived_shapes: tuple[str, ...]
    plugin_ops: tuple[str, ...]
    arithmetic: Precision
    loaded_by: str
    answered_by: str = ""
    samples_used: str
    seconds: Mapping[str, float]
    peak_mib: float


def conversion_tools(form: ModelFormat | None = None) -> dict[str, str]:
    """Return the versions of what takes part in a conversion, the farm's own code included, by package.

    Args:
        form: the form of the model; ONNX needs no TensorFlow.
    """
    packages = _ONNX_PACKAGES if form is ModelFormat.ONNX else _PACKAGES
    code = {"enginefarm-conversion": source_digest(CONVERSION)}
    return {package: version(package) for package in packages} | code


async def preflight_model(model: LocalModel, *, work: Workspace) -> LocalModel:
    """Refuse what must never run; unpack an archive below `work`.

    Returns:
        The model as a Keras file, an H5 file or a SavedModel folder.

    Raises:
        ArchiveRefused: an archive is broken, hostile or too large, or a link leads out of a folder.
        ModelRefused: the model holds what the farm never runs, or what no engine can hold.
        ModelUnreadable: files are damaged, or need code that is not in them.
        SignatureUnknown: a SavedModel has no signature.
    """
    request = {
        "path": model.path,
        "format": model.format,
        "unpacked": str(work.new("unpacked")),
    }
    answer = await work.run(_PREFLIGHT, request)
    form = ModelFormat.SAVED_MODEL if model.format in _ARCHIVES else model.format
    return LocalModel(format=form, path=Path(answer.result["path"]))


async def export_saved_model(model: LocalModel, *, work: Workspace) -> Path:
    """Return a sanitised SavedModel folder below `work`; the input stays as it is.

    Raises:
        ArchiveRefused: a link leads out of the folder.
        ModelRefused: Keras cannot export the model, or the graph holds what is refused.
        ModelUnreadable: files are damaged, or need code that is not in them.
        ValueError: `model` is an archive; `preflight_model` unpacks it.
    """
    if model.format in _ARCHIVES:
        raise ValueError(f"preflight_model unpacks {model.format} first")
    target = work.new("saved_model")
    if model.format is ModelFormat.SAVED_MODEL:
        request = {"path": model.path, "format": model.format, "sanitised": str(target)}
        await work.run(_PREFLIGHT, request)
    else:
        request = {"path": model.path, "saved_model": str(target)}
        await work.run(_EXPORT, request)
    return target


async def convert_saved_model(saved_model: Path, wanted: ConversionWanted, *, work: Workspace) -> Converted:
    """Convert one signature and let TensorFlow answer at each corner of its shapes.

    Raises:
        SignatureUnknown: the model has no such signature, or several and none is named.
        ModelRefused: the signature reaches what no engine can hold.
        ModelUnreadable: TensorFlow cannot load the model.
        OperationUnsupported: an operation has no ONNX form.
        RequestInvalid: shapes do not fit the model, or cannot be derived.
        SamplesInvalid: the samples do not fit the inputs.
    """
    shared = {
        "saved_model": saved_model,
        "samples": wanted.samples,
    }
    requested = {
        "signature": wanted.signature,
        "shapes": shapes_document(wanted.shapes),
        "profiles": [shapes_document(profile) for profile in wanted.profiles],
    }
    planned = await work.run(_PLAN, shared | requested)
    onnx, reference = work.new("onnx") / "model.onnx", work.new("reference", ".npz")
    targets = {"onnx": str(onnx), "reference": str(reference), "opset": wanted.opset}
    request = shared | targets | {"plan": planned.result, "plugin_ops": wanted.plugin_ops}
    program = _CONVERT_CHANNELS_FIRST if planned.result["channels_first"] else _CONVERT
    converted = await work.run(program, request)
    return _converted(onnx, reference, planned, converted)


def _converted(onnx: Path, reference: Path, planned: ChildAnswer, converted: ChildAnswer) -> Converted:
    plan = planned.result
    shapes, *further = (shapes_of(profile) for profile in plan["profiles"])
    for name, original in plan["renamed"].items():
        _LOG.warning(
            "output %s is called %s in the graph: the signature has an input %s, too",
            original,
            name,
            original,
        )
    return Converted(
        onnx=onnx,
        weights=None if converted.result["weights"] is None else Path(converted.result["weights"]),
        reference=reference,
        signature=plan["name"],
        inputs=specs_of(plan["inputs"]),
        outputs=specs_of(plan["outputs"]),
        shapes=shapes,
        further_profiles=tuple(further),
        derived_shapes=tuple(plan["derived_shapes"]),
        plugin_ops=tuple(converted.result["plugin_ops"]),
        arithmetic=Precision(plan["arithmetic"]),
        loaded_by=plan["loaded_by"],
        samples_used=converted.result["samples_used"],
        seconds=converted.result["seconds"] | {"total": planned.seconds + converted.seconds},
        peak_mib=max(planned.peak_mib, converted.peak_mib),
    )
