"""From an ONNX file to a network definition with its inputs and outputs."""

from __future__ import annotations

from typing import Any

from tasks.domain.errors import BuildRefused
from tasks.tensorrt.inside.families.registry import Family
from tasks.tensorrt.inside.messages import Messages, one_line
from tasks.tensorrt.inside.refusals import Fault, parse_refusal

_MOST_FAULTS = 5
_NUMPY = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


def parse_onnx(parser: Any, network: Any, path: str, family: Family, messages: Messages) -> None:
    """Parse the graph at `path`, with weights beside it, into the `network` of `parser`.

    Raises:
        BuildRefused: the file is damaged, or TensorRT refuses one of its nodes.
    """
    if not parser.parse_from_file(path):
        if not parser.num_errors:
            raise BuildRefused(
                wanted="a graph that TensorRT can parse",
                found=messages.said(),
                fix="convert the release again",
            )
        listed = min(parser.num_errors, _MOST_FAULTS)
        faults = [_fault(parser.get_error(index), family, messages) for index in range(listed)]
        raise parse_refusal(faults, more=parser.num_errors - listed)
    if not network.num_outputs:
        raise BuildRefused(
            wanted="a graph with outputs",
            found="an empty graph",
            fix="build again; if it happens again, please report it with the release's model",
        )


def _fault(error: Any, family: Family, messages: Messages) -> Fault:
    said = f"{one_line(error.desc())} [{error.func()}, {error.code()}]"
    return Fault(node=family.failed_node(error, messages), said=said)


def inputs_of(network: Any) -> list[Any]:
    """Return the network's inputs in the graph's order."""
    return [network.get_input(index) for index in range(network.num_inputs)]


def outputs_of(network: Any) -> list[Any]:
    """Return the network's outputs in the graph's order."""
    return [network.get_output(index) for index in range(network.num_outputs)]


def tensor_spec(tensor: Any) -> dict[str, Any]:
    """Return name, NumPy type and shape of `tensor`, JSON-ready; None for a dimension known at run time.

    Raises:
        BuildRefused: NumPy has no such type, so nobody could write or read the tensor.
    """
    shape = [None if size < 0 else size for size in tuple(tensor.shape)]
    return {"name": tensor.name, "dtype": numpy_type(tensor.dtype, tensor.name), "shape": shape}


def numpy_type(dtype: Any, name: str) -> str:
    """Return NumPy's name for TensorRT's element type of the tensor `name`.

    Raises:
        BuildRefused: there is none.
    """
    if dtype.name not in _NUMPY:
        raise BuildRefused(
            wanted=f"an input or output of type {', '.join(_NUMPY.values())}",
            found=f"{name} is {dtype.name}",
            fix=f"cast {name} to one of these types in the model",
        )
    return _NUMPY[dtype.name]
