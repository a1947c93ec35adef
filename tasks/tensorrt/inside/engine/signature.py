"""Inputs and outputs of an engine, and checks that given arrays fit, before TensorRT or the GPU gets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.domain.errors import InputInvalid
from tasks.tensorrt.inside.network import numpy_type

Arrays = dict[str, npt.NDArray[Any]]
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output.

    Attributes:
        name: its name.
        dtype: NumPy's name of its element type.
        shape: dimensions; None if they are decided at run time.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class ShapeRange:
    """The shapes of one input that a profile accepts, and the shape that it is fastest at."""

    min: Shape
    opt: Shape
    max: Shape

    def takes(self, shape: Shape) -> bool:
        """Return whether `shape` is within the range."""
        return len(shape) == len(self.min) and all(
            low <= size <= high
            for low, size, high in zip(self.min, shape, self.max)  # noqa: B905 (Python 3.10; lengths are the same)
        )


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The inputs and outputs of an engine.

    Attributes:
        inputs: in the engine's order.
        outputs: in the engine's order.
        profiles: for each optimisation profile the range of each input.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profiles: tuple[Mapping[str, ShapeRange], ...]

    def fitted(self, given: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Return `given` in the engine's order and element types.

        Only lossless conversions are made: to a wider type, and of whole numbers to a narrower type that can
        represent all of them (TensorRT 8 turns INT64 inputs into INT32).

        Raises:
            InputInvalid: an input is missing or unknown, or has another type, rank or fixed dimension.
        """
        names = [tensor.name for tensor in self.inputs]
        wrong = [name for name in given if name not in names]
        missing = [name for name in names if name not in given]
        if wrong or missing:
            raise InputInvalid(
                wanted=f"the inputs {', '.join(names)}",
                found=f"{_listed(wrong)} that the engine does not have"
                if wrong
                else f"no {_listed(missing)}",
                fix="give one array for each input, under its name",
            )
        return {tensor.name: _fitted(tensor, np.asarray(given[tensor.name])) for tensor in self.inputs}

    def profile_for(self, arrays: Arrays, wanted: int | None, active: int | None) -> int:
        """Return the profile to run `arrays` in.

        Args:
            arrays: what `fitted` returned.
            wanted: the requested profile; None: the first that fits.
            active: the active profile, which is kept if it fits, because a change costs time.

        Raises:
            InputInvalid: there is no such profile, or none of its ranges accepts the arrays.
        """
        if wanted is not None and not 0 <= wanted < len(self.profiles):
            raise InputInvalid(
                wanted=f"a profile from 0 to {len(self.profiles) - 1}",
                found=str(wanted),
                fix="omit the profile: one that fits is chosen",
            )
        order = range(len(self.profiles)) if active is None else (active, *range(len(self.profiles)))
        candidates = order if wanted is None else (wanted,)
        fitting = (number for number in candidates if not self._misfits(arrays, number))
        profile = next(fitting, None)
        if profile is None:
            raise self._outside(arrays, sorted(set(candidates)))
        return profile

    def profiles_that_take(self, arrays: Arrays) -> tuple[int, ...]:
        """Return all profiles whose ranges accept `arrays`, which `fitted` returned."""
        return tuple(number for number in range(len(self.profiles)) if not self._misfits(arrays, number))

    def _misfits(self, arrays: Arrays, profile: int) -> list[str]:
        ranges = self.profiles[profile]
        return [name for name, array in arrays.items() if not ranges[name].takes(array.shape)]

    def _outside(self, arrays: Arrays, profiles: list[int]) -> InputInvalid:
        wrong = {name: None for number in profiles for name in self._misfits(arrays, number)}
        ranges = (
            f"{name} from {list(self.profiles[number][name].min)} to {list(self.profiles[number][name].max)}"
            f" (profile {number})"
            for number in profiles
            for name in wrong
        )
        return InputInvalid(
            wanted=f"shapes within a profile: {', '.join(ranges)}",
            found=", ".join(f"{name} {list(arrays[name].shape)}" for name in wrong),
            fix="give shapes within the range, or build the engine with wider `inputs` in build.yaml",
        )


def _fitted(tensor: Tensor, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    fits = len(array.shape) == len(tensor.shape) and all(
        dimension in (None, size)
        for dimension, size in zip(tensor.shape, array.shape)  # noqa: B905 (as above)
    )
    if not fits:
        shown = ", ".join("?" if size is None else str(size) for size in tensor.shape)
        raise InputInvalid(
            wanted=f"input {tensor.name} of shape [{shown}]",
            found=f"shape {list(array.shape)}",
            fix="give as many dimensions, with the same fixed ones; ? is any size in its range",
        )
    wanted = np.dtype(tensor.dtype)
    if np.can_cast(array.dtype, wanted, "safe") or _holds(wanted, array):
        return array.astype(wanted, copy=False)
    raise InputInvalid(
        wanted=f"input {tensor.name} of type {tensor.dtype}",
        found=f"type {array.dtype}{_extremes(array)}",
        fix=f"convert it if that is intended: array.astype('{tensor.dtype}')",
    )


def _holds(wanted: np.dtype[Any], array: npt.NDArray[Any]) -> bool:
    """Return whether `wanted` can represent each of the whole numbers in `array`."""
    if wanted.kind not in "iu" or array.dtype.kind not in "iu":
        return False
    limits = np.iinfo(wanted)
    return not array.size or (int(array.min()) >= limits.min and int(array.max()) <= limits.max)


def _extremes(array: npt.NDArray[Any]) -> str:
    return f" from {array.min()} to {array.max()}" if array.dtype.kind in "iu" and array.size else ""


def _listed(names: list[str]) -> str:
    return ", ".join(map(str, names))


def read_signature(trt: Any, engine: Any) -> Signature:
    """Return the inputs and outputs of `engine`.

    Raises:
        BuildRefused: NumPy lacks the type of an input or output.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    return Signature(
        inputs=tuple(_tensor(engine, name) for name in inputs),
        outputs=tuple(_tensor(engine, name) for name in names if name not in inputs),
        profiles=tuple(
            {name: _shape_range(engine, name, profile) for name in inputs}
            for profile in range(engine.num_optimization_profiles)
        ),
    )


def _tensor(engine: Any, name: str) -> Tensor:
    return Tensor(
        name=name,
        dtype=numpy_type(engine.get_tensor_dtype(name), name),
        shape=tuple(None if size < 0 else int(size) for size in tuple(engine.get_tensor_shape(name))),
    )


def _shape_range(engine: Any, name: str, profile: int) -> ShapeRange:
    """Return the range of an input; with fixed dimensions it needs none in the profile."""
    fixed = tuple(engine.get_tensor_shape(name))
    corners = [fixed] * 3
    if min(fixed, default=0) < 0:
        corners = [tuple(corner) for corner in engine.get_tensor_profile_shape(name, profile)]
    low, best, high = (tuple(int(size) for size in corner) for corner in corners)
    return ShapeRange(min=low, opt=best, max=high)
