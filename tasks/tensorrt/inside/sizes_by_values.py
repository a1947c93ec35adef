"""Names the layer whose size depends on values. TensorRT stops at it with an assertion that names nothing."""

from __future__ import annotations

from typing import Any

from tasks.domain.layers import placed

_SIZED = ("SLICE", "SHUFFLE", "FILL", "RESIZE")
_FROM_SHAPES = ("SHAPE", "CONSTANT")


def layer_sized_by_values(network: Any) -> str | None:
    """Return the first layer that takes a size which follows from an input's values; None if none does."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = {output.name: layer for layer in layers for output in _outputs(layer)}
    for layer in layers:
        if layer.type.name in _SIZED and any(_by_values(size, makers) for size in _inputs(layer)[1:]):
            return placed(layer.name)
    return None


def _by_values(size: Any, makers: dict[str, Any]) -> bool:
    """Return whether the tensor `size` follows from values of an input of the network."""
    if not size.is_shape_tensor:
        return False
    pending, seen = [size.name], {size.name}
    while pending:
        maker = makers.get(pending.pop())
        if maker is None:
            return True
        if maker.type.name in _FROM_SHAPES:
            continue
        new = {tensor.name for tensor in _inputs(maker)} - seen
        seen |= new
        pending.extend(new)
    return False


def _inputs(layer: Any) -> list[Any]:
    read = (layer.get_input(place) for place in range(layer.num_inputs))
    return [tensor for tensor in read if tensor is not None]


def _outputs(layer: Any) -> list[Any]:
    return [layer.get_output(place) for place in range(layer.num_outputs)]
