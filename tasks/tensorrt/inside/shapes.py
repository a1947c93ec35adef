"""Optimisation profiles: which shapes an engine takes, and which ones it is fastest at."""

from __future__ import annotations

from typing import Any

from tasks.domain.errors import BuildRefused, RequestInvalid
from tasks.domain.layers import placed
from tasks.tensorrt.inside.network import inputs_of
from tasks.tensorrt.inside.options import Shapes

_CORNERS = ("min", "opt", "max")


def add_profiles(builder: Any, network: Any, config: Any, profiles: tuple[Shapes, ...]) -> None:
    """Give `config` the `profiles` in their order; a network without dynamic inputs needs none.

    Raises:
        RequestInvalid: the shapes do not fit the inputs, or one is missing.
        BuildRefused: an input holds a shape and not data.
    """
    inputs = inputs_of(network)
    for tensor in inputs:
        if tensor.is_shape_tensor:
            raise _values_are_sizes(tensor, network)
    for shapes in profiles:
        _add_profile(builder, inputs, config, shapes)


def _add_profile(builder: Any, inputs: list[Any], config: Any, shapes: Shapes) -> None:
    unknown = set(shapes) - {tensor.name for tensor in inputs}
    if unknown:
        raise RequestInvalid(
            wanted=f"shapes for the inputs {', '.join(tensor.name for tensor in inputs)}",
            found=f"shapes for {', '.join(sorted(unknown))}",
            fix="correct the names under `inputs` or `profiles` in build.yaml",
        )
    profile = builder.create_optimization_profile()
    dynamic = [tensor for tensor in inputs if not _check_range(tensor, shapes.get(tensor.name))]
    for tensor in dynamic:
        ranges = shapes[tensor.name]
        profile.set_shape(tensor.name, *(tuple(ranges[corner]) for corner in _CORNERS))
    if dynamic and config.add_optimization_profile(profile) < 0:
        raise RequestInvalid(
            wanted="shapes with min <= opt <= max",
            found=f"shapes that TensorRT does not take: {shapes}",
            fix="correct `inputs` or `profiles` in build.yaml",
        )


def _values_are_sizes(tensor: Any, network: Any) -> BuildRefused:
    name = tensor.name
    return BuildRefused(
        wanted="inputs whose values decide no size: sizes are planned before there are values",
        found=f"input {name}, whose values are sizes or offsets in {_sized_by(tensor, network)}",
        fix=f"make {name} a constant of the model, or let the model read the size from the shape of another "
        "input; if it only selects rows, and no size depends on it, use tf.gather",
    )


def _sized_by(tensor: Any, network: Any) -> str:
    """Name the first layer that turns the sizes in `tensor` into the shape of its data."""
    sizes = {tensor.name}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        read = (layer.get_input(place) for place in range(layer.num_inputs))
        if sizes.isdisjoint(source.name for source in read if source is not None):
            continue
        written = [layer.get_output(place) for place in range(layer.num_outputs)]
        if not all(result.is_shape_tensor for result in written):
            return placed(layer.name)
        sizes.update(result.name for result in written)
    return "a loop or branch"


def _check_range(tensor: Any, ranges: dict[str, list[int]] | None) -> bool:
    """Return whether all dimensions of `tensor` are fixed; raise where `ranges` do not fit it."""
    dimensions = tuple(tensor.shape)
    static = all(size >= 0 for size in dimensions)
    if ranges is None and static:
        return True
    if ranges is None or not all(_fits(dimensions, ranges[corner]) for corner in _CORNERS):
        raise RequestInvalid(
            wanted=f"min, opt and max shapes for input {tensor.name} {_shape_text(dimensions)}",
            found=str(ranges or "none"),
            fix=f"write them under `inputs: {tensor.name}:` in build.yaml; fixed dimensions stay as they are",
        )
    return static


def _fits(dimensions: tuple[int, ...], shape: list[int]) -> bool:
    return len(dimensions) == len(shape) and all(
        size in (-1, wanted)
        for size, wanted in zip(dimensions, shape)  # noqa: B905 (lengths are the same)
    )


def _shape_text(dimensions: tuple[int, ...]) -> str:
    return "[" + ", ".join("?" if size < 0 else str(size) for size in dimensions) + "]"
