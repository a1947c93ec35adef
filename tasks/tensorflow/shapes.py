"""Which shapes each input is built for: as the request gives them, else derived from the signature."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.domain.errors import RequestInvalid
from tasks.domain.record import TensorSpec
from tasks.domain.request import ShapeRange, Shapes

_BATCH = (1, 8, 32)


def effective_shapes(
    inputs: tuple[TensorSpec, ...],
    given: Shapes,
    sampled: Mapping[str, tuple[int, ...]],
) -> tuple[dict[str, ShapeRange], tuple[str, ...]]:
    """Return the shapes of every input by name, and the names of those that were derived.

    Args:
        inputs: the signature's inputs.
        given: the request's shapes, by input.
        sampled: shapes of the arrays in the sample file, by input.

    Raises:
        RequestInvalid: a given shape does not fit its input, or a dimension cannot be derived.
    """
    _refuse_unknown(inputs, given, "inputs")
    shapes = {
        spec.name: _checked(spec, given[spec.name], "inputs")
        if spec.name in given
        else _derived(spec, sampled.get(spec.name))
        for spec in inputs
    }
    return shapes, tuple(spec.name for spec in inputs if spec.name not in given)


def effective_profiles(
    inputs: tuple[TensorSpec, ...],
    given: Shapes,
    profiles: tuple[Shapes, ...],
    sampled: Mapping[str, tuple[int, ...]],
) -> tuple[tuple[dict[str, ShapeRange], ...], tuple[str, ...]]:
    """Return the shapes of every input for each profile, and the names of those that were derived.

    Args:
        inputs: the signature's inputs.
        given: shapes that all profiles share, by input.
        profiles: shapes of the other inputs with open dimensions; none for a single profile.
        sampled: shapes of the arrays in the sample file, by input.

    Raises:
        RequestInvalid: as `effective_shapes`, or the profiles leave out an input with open dimensions.
    """
    if not profiles:
        shapes, derived = effective_shapes(inputs, given, sampled)
        return (shapes,), derived
    _refuse_unknown(inputs, given, "inputs")
    _require_all_open(inputs, given, profiles[0])
    shared, derived = effective_shapes(
        tuple(spec for spec in inputs if spec.name not in profiles[0]), given, sampled
    )
    return tuple(
        _in_profile(inputs, profile, shared, f"profiles[{number}]") for number, profile in enumerate(profiles)
    ), derived


def _in_profile(
    inputs: tuple[TensorSpec, ...], profile: Shapes, shared: Shapes, place: str
) -> dict[str, ShapeRange]:
    _refuse_unknown(inputs, profile, place)
    return {
        spec.name: _checked(spec, profile[spec.name], place) if spec.name in profile else shared[spec.name]
        for spec in inputs
    }


def _require_all_open(inputs: tuple[TensorSpec, ...], given: Shapes, profile: Shapes) -> None:
    """Refuse profiles that leave out an open shape: several profiles each have their purpose."""
    left_out = [
        spec.name
        for spec in inputs
        if None in spec.shape and spec.name not in given and spec.name not in profile
    ]
    if left_out:
        raise RequestInvalid(
            wanted="shapes in every profile for each input with open dimensions",
            found=f"none for {', '.join(left_out)} in profiles of build.yaml",
            fix=f"add {', '.join(left_out)} to each profile, or give shapes for all profiles in inputs",
        )


def _refuse_unknown(inputs: tuple[TensorSpec, ...], given: Shapes, place: str) -> None:
    names = [spec.name for spec in inputs]
    for name in given:
        if name not in names:
            raise RequestInvalid(
                wanted="shapes for inputs of the model",
                found=f"{place}.{name} in build.yaml; the signature has {', '.join(names)}",
                fix=f"rename or remove {place}.{name}",
            )


def _checked(spec: TensorSpec, shape: ShapeRange, place: str) -> ShapeRange:
    """Return `shape`, from `place` of the request, if the input `spec` accepts it."""
    declared = written(spec.shape)
    if len(shape.opt) != len(spec.shape):
        raise RequestInvalid(
            wanted=f"{len(spec.shape)} dimensions for input {spec.name}, whose shape is {declared}",
            found=f"{len(shape.opt)} dimensions in build.yaml",
            fix=f"give {place}.{spec.name} one number per dimension, the batch included",
        )
    for corner, dims in shape.corners.items():
        for axis, (fixed, dim) in enumerate(zip(spec.shape, dims, strict=True)):
            if fixed is not None and fixed != dim:
                raise RequestInvalid(
                    wanted=f"{fixed} for dimension {axis} of input {spec.name}, whose shape is {declared}",
                    found=f"{dim} in {place}.{spec.name}.{corner} of build.yaml",
                    fix=f"write {fixed} there, or export the model with this dimension left open (None)",
                )
    return shape


def _derived(spec: TensorSpec, sample: tuple[int, ...] | None) -> ShapeRange:
    """Return the range that follows from the signature: fixed dimensions, and a batch of 1, 8 or 32."""
    corners = []
    for batch in _BATCH:
        dims = [batch if axis == 0 and dim is None else dim for axis, dim in enumerate(spec.shape)]
        if sample is not None and len(sample) == len(dims):
            dims = [size if dim is None else dim for dim, size in zip(dims, sample, strict=True)]
        corners.append(tuple(_require_size(spec, axis, dim) for axis, dim in enumerate(dims)))
    low, best, high = corners
    return ShapeRange(min=low, opt=best, max=high)


def _require_size(spec: TensorSpec, axis: int, dim: int | None) -> int:
    if dim is not None and dim > 0:
        return dim
    corners = ", ".join(
        f"{corner}: {_example(spec.shape, batch)}"
        for corner, batch in zip(("min", "opt", "max"), _BATCH, strict=True)
    )
    raise RequestInvalid(
        wanted=f"a size for dimension {axis} of input {spec.name}, whose shape is {written(spec.shape)}",
        found="nothing in build.yaml or in a sample file that gives its size"
        if dim is None
        else "0, which holds no data",
        fix=f"write inputs: {{{spec.name}: {{{corners}}}}} into build.yaml, with numbers for N",
    )


def _example(shape: tuple[int | None, ...], batch: int) -> str:
    dims = [batch if axis == 0 and dim is None else dim or "N" for axis, dim in enumerate(shape)]
    return f"[{', '.join(map(str, dims))}]"


def written(shape: tuple[int | None, ...]) -> str:
    """Return `shape` as messages show it, `(?, 224, 224, 3)`."""
    return "(" + ", ".join("?" if dim is None else str(dim) for dim in shape) + ")"
