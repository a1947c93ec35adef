"""Simplifies a graph with onnxslim, which leaves large weights where they are."""

# ruff: noqa: SLF001 (whether onnxslim has read a tensor can be seen in no other way)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import onnxslim
from onnx import ModelProto, TensorProto
from onnxslim.third_party.onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter
from onnxslim.third_party.onnx_graphsurgeon.ir.tensor import Constant, LazyValues

from tasks.children.weights import Scratch
from tasks.onnx.structure import is_ordered

_OPTIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"skip_optimizations": ["constant_folding"]},
    {"no_shape_infer": True},
    {"no_shape_infer": True, "skip_optimizations": ["constant_folding"]},
)


def simplified(model: ModelProto, room: Scratch) -> ModelProto:
    """Return `model` simplified, with the same inputs; large weights that change go to `room`.

    onnxslim's constant folding can lose tensors that the branches of an If read (TopK in those of
    `tf.image.non_max_suppression_padded`), and its shape inference can take an open dimension for 1 (that of
    ragged lengths). Then the graph is simplified without the step that fails.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    for options in _OPTIONS:
        with _exported_to(room):
            simple: ModelProto = onnxslim.slim(_copy(model), **options)
        kept_open = _open_dimensions(inputs) <= _open_dimensions(simple.graph.input) | _unread(inputs, simple)
        # onnxslim drops inputs that nothing reads, but callers feed all inputs of the signature.
        del simple.graph.input[:]
        simple.graph.input.extend(inputs)
        if is_ordered(simple.graph) and kept_open:
            return simple
    return model


def _open_dimensions(values: Iterable[Any]) -> set[tuple[str, int]]:
    return {
        (value.name, axis)
        for value in values
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        if not dim.HasField("dim_value")
    }


def _unread(inputs: list[Any], simple: ModelProto) -> set[tuple[str, int]]:
    """Return the open dimensions of inputs that `simple` lacks."""
    names = {value.name for value in simple.graph.input}
    return _open_dimensions(value for value in inputs if value.name not in names)


def _copy(model: ModelProto) -> ModelProto:
    """Return a copy, since onnxslim changes what it is given; large weights are references in both."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


@contextmanager
def _exported_to(room: Scratch) -> Iterator[None]:
    """Let onnxslim export references for large weights, and not keep their values.

    onnxslim exports and imports the graph in every round. By default it exports a weight by value once it has
    read it, even if only for its shape, and a graph of more than 2 GiB can be neither copied nor checked.
    """
    export = OnnxExporter.export_tensor_proto

    def values(tensor: Any) -> Any:
        if isinstance(tensor._values, LazyValues):
            lazy = tensor._values
            tensor._values = lazy.load()
            tensor.read = (tensor._values, lazy)
        return tensor._values

    def exported(tensor: Any) -> TensorProto:
        array, lazy = getattr(tensor, "read", (None, None))
        if tensor._values is array:
            tensor._values = lazy
        proto: TensorProto = export(tensor)
        if proto.HasField("raw_data"):
            proto.ClearField("data_location")  # onnxslim copies the mark of a reference to new values
            room.keep_tensor(proto)
            tensor._values = LazyValues(proto)
        tensor.read = None, None
        return proto

    with (
        patch.object(Constant, "values", property(values, Constant.values.fset)),
        patch.object(OnnxExporter, "export_tensor_proto", exported),
    ):
        yield
