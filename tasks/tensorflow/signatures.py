"""The signatures of a parsed `saved_model.pb`.

Works on protobuf messages that the caller parsed, so that nothing here loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.domain.errors import ModelRefused, ModelUnreadable, SignatureUnknown
from tasks.domain.record import TensorSpec
from tasks.tensorflow.input_names import read_name

_DEFAULT_SIGNATURE = "serving_default"
_INTERNAL_SIGNATURES = "__saved_model"
SERVE = "serve"
_TRAIN = "train"
_OUTPUT_SUFFIX = "_out"
# Numbers of tensorflow.DataType; the names are NumPy's.
_DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64", 10: "bool",
    17: "uint16", 19: "float16",
}  # fmt: skip
_REFUSED_DTYPES = {
    7: ("strings", "export a signature that takes numbers: decode and tokenise before the engine"),
    8: ("complex numbers", "pass real and imaginary parts as two float tensors"),
    18: ("complex numbers", "pass real and imaginary parts as two float tensors"),
    14: ("bfloat16", "cast to float32 at the signature's border"),
    21: ("variants", "export a signature that takes dense tensors"),
    22: ("uint32", "take and return int64 or int32 instead: TensorRT has no uint32"),
    23: ("uint64", "take and return int64 instead: TensorRT has no uint64"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A serving signature as the file declares it; tensors are sorted by name."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def serving_graph(saved_model: Any) -> Any:
    """Return the `MetaGraphDef` for serving; if others are for training or a device, the plain one.

    Raises:
        ModelUnreadable: there is none.
    """
    graphs = [graph for graph in saved_model.meta_graphs if SERVE in graph.meta_info_def.tags]
    if not graphs:
        tags = [list(graph.meta_info_def.tags) for graph in saved_model.meta_graphs]
        raise ModelUnreadable(
            wanted="a SavedModel with a graph for serving (tag serve)",
            found=f"graphs with the tags {tags}" if tags else "no graph at all",
            fix="save the model again with tf.saved_model.save or model.export",
        )
    return min(graphs, key=lambda graph: (_TRAIN in graph.meta_info_def.tags, len(graph.meta_info_def.tags)))


def signature_names(graph: Any) -> list[str]:
    """Return the names of the signatures that users can ask for, sorted."""
    return sorted(name for name in graph.signature_def if not name.startswith(_INTERNAL_SIGNATURES))


def choose_signature(graph: Any, wanted: str | None) -> str:
    """Return `wanted`, or the only signature, or `serving_default`.

    Raises:
        SignatureUnknown: there is no such signature, or none to choose.
    """
    names = signature_names(graph)
    if wanted in names:
        return str(wanted)
    if wanted is None and (len(names) == 1 or _DEFAULT_SIGNATURE in names):
        return names[0] if len(names) == 1 else _DEFAULT_SIGNATURE
    raise SignatureUnknown(
        wanted=f"the signature {wanted}" if wanted else f"one signature, or one named {_DEFAULT_SIGNATURE}",
        found=f"the signatures {', '.join(names)}" if names else "a model without signatures",
        fix="set signature in build.yaml to one of them"
        if names
        else "call a Keras model once before it is saved; give a function of a tf.Module "
        "@tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)]); "
        "or save it with tf.saved_model.save(..., signatures=...) or model.export",
    )


def read_signature(graph: Any, name: str) -> Signature:
    """Return the declared inputs and outputs of signature `name`.

    Raises:
        ModelRefused: there is no output, or a tensor is not dense, not of numbers, or has no rank.
    """
    definition = graph.signature_def[name]
    if not definition.outputs:
        raise ModelRefused(
            wanted=f"at least one output of signature {name}",
            found="none",
            fix="let the function return its tensors and export it again, or set signature in build.yaml "
            "to another one",
        )
    return Signature(
        name=name,
        inputs=tuple(
            _tensor(name, "input", key, definition.inputs[key]) for key in sorted(definition.inputs)
        ),
        outputs=tuple(
            _tensor(name, "output", key, definition.outputs[key]) for key in sorted(definition.outputs)
        ),
    )


def outputs_apart(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> tuple[tuple[TensorSpec, ...], dict[str, str]]:
    """Return the outputs, none with the name of an input, and the original names by the new ones.

    A signature may take `boxes` and return `boxes`, as detectors do; in an ONNX graph and in an engine, each
    name occurs once. The input keeps it, and the output becomes `boxes_out`.
    """
    fed = {spec.name for spec in inputs}
    used = fed | {spec.name for spec in outputs}
    names = dict[str, str]()
    for spec in outputs:
        name = spec.name
        while name in used and spec.name in fed:
            name += _OUTPUT_SUFFIX
        used.add(name)
        names[spec.name] = name
    renamed = tuple(replace(spec, name=names[spec.name]) for spec in outputs)
    return renamed, {name: original for original, name in names.items() if name != original}


def _tensor(signature: str, side: str, key: str, info: Any) -> TensorSpec:
    def refuse(problem: str, fix: str) -> ModelRefused:
        return ModelRefused(
            wanted=f"dense tensors of numbers in signature {signature}",
            found=f"{side} {key} of {problem}",
            fix=fix,
        )

    if info.WhichOneof("encoding") != "name":
        raise refuse("a sparse or ragged kind", "export a signature that takes and returns dense tensors")
    if info.dtype not in _DTYPES:
        problem, fix = _REFUSED_DTYPES.get(
            info.dtype, (f"TensorFlow's type number {info.dtype}", "cast to float32 or int32 at the border")
        )
        raise refuse(problem, fix)
    if info.tensor_shape.unknown_rank and side == "input":
        raise refuse("unknown rank", "export with a TensorSpec that gives each dimension, None if it varies")
    shape = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
    return TensorSpec(name=read_name(key) if side == "input" else key, dtype=_DTYPES[info.dtype], shape=shape)
