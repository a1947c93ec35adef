"""Child: what onnxruntime answers for an ONNX model at each corner of the shapes, and how noisy it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tasks.children.compare import Arrays, relative_error, spreads
from tasks.children.reference import Corner, write_reference
from tasks.domain.corners import corners_of, odd_corners_of, shapes_document
from tasks.domain.errors import OperationUnsupported, SamplesInvalid, SignatureUnknown, VerificationFailed
from tasks.domain.record import TensorSpec
from tasks.domain.request import Precision, Shapes
from tasks.onnx.opset import opset_of
from tasks.onnx.session_child import open_session, run_corner
from tasks.onnx.structure import all_nodes
from tasks.onnx_release.signature import SIGNATURE
from tasks.tensorflow.documents import shapes_of
from tasks.tensorflow.draws import Draws
from tasks.tensorflow.feeds import describe, feed, flipped, is_movable, one_step_off, read_samples
from tasks.tensorflow.shapes import effective_profiles


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Write `reference` for the graph at `onnx`, which preflight wrote; describe the graph."""
    path = Path(request["onnx"])
    model = onnx.load(path, load_external_data=False)
    _require(model, request)
    inputs, outputs = _specs(model, model.graph.input), _specs(model, model.graph.output)
    samples = read_samples(Path(request["samples"]), inputs) if request["samples"] else {}
    sampled = {name: array.shape for name, array in samples.items()}
    given, requested = shapes_of(request["shapes"]), tuple(map(shapes_of, request["profiles"]))
    profiles, derived = effective_profiles(inputs, given, requested, sampled)
    arithmetic = _arithmetic(model)
    report("reference", 0.3)
    asker = _Asker(path, inputs, samples)
    corners, draws = asker.answers(profiles, Draws(limits=dict(_limits(model))))
    report("noise", 0.7)
    _measure_noise(path, asker.session, corners, arithmetic)
    write_reference(Path(request["reference"]), corners)
    return {
        "inputs": [asdict(spec) for spec in inputs],
        "outputs": [asdict(spec) for spec in outputs],
        "profiles": [shapes_document(profile) for profile in profiles],
        "derived_shapes": derived,
        "arithmetic": arithmetic,
        "samples_used": describe(inputs, samples, draws),
        "answered_by": f"onnxruntime {onnxruntime.__version__}",
    }


def _require(model: ModelProto, request: dict[str, Any]) -> None:
    if opset_of(model) > request["opset"]:
        raise OperationUnsupported(
            wanted=f"a graph in opset {request['opset']} or lower, which the target's TensorRT reads",
            found=f"opset {opset_of(model)}",
            fix=f"export the model with opset {request['opset']}, or leave out this target",
        )
    if request["signature"] not in {None, SIGNATURE}:
        raise SignatureUnknown(
            wanted=f"the signature {request['signature']!r} that build.yaml names",
            found="an ONNX graph, which has no signatures",
            fix="leave out `signature`",
        )


def _specs(model: ModelProto, values: Any) -> tuple[TensorSpec, ...]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return tuple(
        TensorSpec(
            name=value.name,
            dtype=helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            shape=tuple(
                dim.dim_value if dim.WhichOneof("value") == "dim_value" else None
                for dim in value.type.tensor_type.shape.dim
            ),
        )
        for value in values
        if value.name not in weights
    )


def _arithmetic(model: ModelProto) -> Precision:
    types = {tensor.data_type for tensor in model.graph.initializer}
    types |= {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.value_info)}
    for node in all_nodes(model.graph):
        types |= {
            attribute.i for attribute in node.attribute if node.op_type == "Cast" and attribute.name == "to"
        }
        types |= {attribute.t.data_type for attribute in node.attribute if attribute.HasField("t")}
    if TensorProto.BFLOAT16 in types:
        return Precision.BF16
    return Precision.FP16 if TensorProto.FLOAT16 in types else Precision.FP32


def _limits(model: ModelProto) -> Iterator[tuple[str, int]]:
    """Yield the number of ids that inputs take that look up rows of a weight."""
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    sources = {value.name: value.name for value in model.graph.input if value.name not in weights}
    least: dict[str, int] = {}
    for node in model.graph.node:
        if (
            node.op_type in {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
            and node.input[0] in sources
        ):
            sources[node.output[0]] = sources[node.input[0]]
        if node.op_type == "Gather" and node.input[0] in weights and node.input[1] in sources:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            name, ids = sources[node.input[1]], weights[node.input[0]][axis]
            least[name] = min(ids, least.get(name, ids))
    yield from least.items()


class _Asker:
    """The graph in onnxruntime, and samples for some of its inputs."""

    def __init__(self, path: Path, inputs: tuple[TensorSpec, ...], samples: Arrays) -> None:
        self.session = open_session(path)
        self._path, self._inputs, self._samples = path, inputs, samples

    def answers(self, profiles: tuple[Shapes, ...], draws: Draws) -> tuple[list[Corner], Draws]:
        """Return the answers at each corner of `profiles`, and the draws that led to them."""
        *bolder, mildest = draws.milder()
        for attempt in bolder:
            with suppress(SamplesInvalid):
                corners = [self._answer(name, sizes, attempt) for name, sizes in corners_of(profiles).items()]
                if all(_has_number(value) for corner in corners for value in corner.outputs.values()):
                    break
        else:
            attempt = mildest
            corners = [self._answer(name, sizes, attempt) for name, sizes in corners_of(profiles).items()]
        for name, sizes in odd_corners_of(profiles).items():
            with suppress(SamplesInvalid):  # the model takes even sizes only
                corners.append(self._answer(name, sizes, attempt))
        if None in spreads(corner.outputs for corner in corners).values():
            sizes = next(iter(corners_of(profiles).values()))
            with suppress(SamplesInvalid):
                corners.append(self._answer("again", sizes, attempt.again(), first=1))
        return corners, attempt

    def _answer(
        self, name: str, sizes: Mapping[str, tuple[int, ...]], draws: Draws, *, first: int = 0
    ) -> Corner:
        fed = feed(self._inputs, sizes, self._samples, draws, first=first)
        corner = Corner(name, fed, {}, {})
        try:
            return Corner(name, fed, run_corner(self.session, corner, self._path), {})
        except VerificationFailed as error:
            raise SamplesInvalid(
                wanted=error.wanted,
                found=error.found,
                fix="give `samples` and shapes in build.yaml that the model accepts",
            ) from error


def _has_number(value: Any) -> bool:
    return not value.size or bool(np.isfinite(value).any())


def _measure_noise(
    path: Path, session: onnxruntime.InferenceSession, corners: list[Corner], arithmetic: Precision
) -> None:
    """Add to `corners` how far outputs move with inputs, or else weights, one rounding step off."""
    if not any(one_step_off(corner.inputs, arithmetic) for corner in corners):
        session = open_session(_with_weights_moved(path, arithmetic))
    for corner in corners:
        fed = one_step_off(corner.inputs, arithmetic) or corner.inputs
        moved = run_corner(session, Corner(corner.name, fed, {}, {}), path)
        for name, value in corner.outputs.items():
            corner.noise[name] = relative_error(value, moved[name])[1]


def _with_weights_moved(path: Path, arithmetic: Precision) -> Path:
    """Write a copy of the graph whose weights are one rounding step off, into the working folder."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.size and is_movable(values.dtype.name, arithmetic):
            tensor.CopyFrom(numpy_helper.from_array(flipped(values, arithmetic), tensor.name))
    moved = Path("moved.onnx").absolute()
    onnx.save(model, moved, save_as_external_data=True, location="moved.bin")
    return moved
