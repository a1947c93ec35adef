"""Checks the element types of a parsed network against its precision."""

from __future__ import annotations

from typing import Any

from tasks.domain.errors import BuildRefused

# TensorRT's names of the types of each precision, and ours.
_HALVES = {"HALF": "fp16", "BF16": "bf16"}
_QUANTISED = {"INT8": "int8", "FP8": "fp8"}


def check_strong(network: Any, precision: str) -> None:
    """Check a strongly typed network against `precision`: its types are its arithmetic.

    Raises:
        BuildRefused: there is no tensor of the precision's type, or a tensor of another low precision.
    """
    _check_types(network, precision, _HALVES | _QUANTISED)


def check_weak(network: Any, precision: str) -> None:
    """Check Q/DQ layers against `precision`: TensorRT obeys them in a weakly typed network, too.

    Raises:
        BuildRefused: INT8 is requested and nothing is quantised, or vice versa.
    """
    _check_types(network, precision, _QUANTISED)


def check_layers(network: Any, precision: str) -> None:
    """Check Q/DQ layers against `precision` by their kind: TensorRT 8 reports their outputs as FP32.

    Raises:
        BuildRefused: as `check_weak`.
    """
    layers = (network.get_layer(index) for index in range(network.num_layers))
    quantised = any(layer.type.name == "QUANTIZE" for layer in layers)
    _compare_types(precision, {"int8"} if quantised else set(), {"int8"})


def _check_types(network: Any, precision: str, carriers: dict[str, str]) -> None:
    types = {carriers[name] for name in _element_types(network) if name in carriers}
    _compare_types(precision, types, set(carriers.values()))


def _compare_types(precision: str, types: set[str], carried: set[str]) -> None:
    wanted = {precision} & carried
    if types == wanted:
        return
    extra = " and ".join(name.upper() for name in sorted(types - wanted))
    raise BuildRefused(
        wanted=f"a graph for {precision}, whose element types are the arithmetic of this TensorRT",
        found=f"{extra} tensors in the graph" if extra else f"no {precision.upper()} tensor in the graph",
        fix=f"ask for {' or '.join(sorted(types))}, or remove {extra} from the model"
        if extra
        else f"leave {precision} out of precisions: nothing in this model computes in it",
    )


def _element_types(network: Any) -> set[str]:
    """Return the types that layers compute in; an FP16 output of the network is only cast to it."""
    names = set()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for number in range(layer.num_outputs):
            tensor = layer.get_output(number)
            if not (tensor.is_network_output and tensor.dtype.name in _HALVES):
                names.add(tensor.dtype.name)
    return names
