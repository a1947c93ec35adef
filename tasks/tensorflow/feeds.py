"""Input values for the reference: the release's samples if there are any, else drawn numbers."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.children.arrays import fitted, rows_with
from tasks.children.compare import Arrays
from tasks.domain.errors import SamplesInvalid
from tasks.domain.printable import printable_name
from tasks.domain.record import TensorSpec
from tasks.domain.request import Precision
from tasks.tensorflow.draws import SEED, Draws
from tasks.tensorflow.preflight.npz import check_npz
from tasks.tensorflow.shapes import written

_USUAL = Draws()
# Bits of the mantissa; engines compute float64 as float32.
_MANTISSA = {Precision.FP32: 23, Precision.FP16: 10, Precision.BF16: 7}
_MANTISSA_OF_TYPE = {"bfloat16": 7, "float16": 10, "float32": 23, "float64": 52}


def read_samples(path: Path, inputs: tuple[TensorSpec, ...]) -> Arrays:
    """Return the arrays of the sample file by input; inputs may be missing.

    Raises:
        SamplesInvalid: the file is damaged, or an array does not fit its input.
    """
    try:
        check_npz(path)
        with path.open("rb") as data, np.load(data, allow_pickle=False) as file:
            samples = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise SamplesInvalid(
            wanted=f"an .npz of plain arrays in {path.name}",
            found=f"{type(error).__name__}: {error}",
            fix="write it with numpy.savez(file, **{input: array}); objects and strings are refused",
        ) from error
    specs = {spec.name: spec for spec in inputs}
    for name, array in samples.items():
        if name not in specs:
            raise SamplesInvalid(
                wanted=f"arrays named like the inputs {', '.join(specs)} in {path.name}",
                found=f"an array {name}",
                fix="rename or remove it",
            )
        _check_sample(path, specs[name], array)
    if not samples:
        raise SamplesInvalid(
            wanted=f"at least one array in {path.name}", found="none", fix="write one array per input"
        )
    return samples


def _check_sample(path: Path, spec: TensorSpec, array: npt.NDArray[Any]) -> None:
    fits = len(spec.shape) == array.ndim and all(
        axis == 0 or dim is None or dim == size
        for axis, (dim, size) in enumerate(zip(spec.shape, array.shape, strict=False))
    )
    if str(array.dtype) != spec.dtype or not fits or not array.size:
        raise SamplesInvalid(
            wanted=f"{spec.dtype} of shape {written(spec.shape)} for input {spec.name} in {path.name}",
            found=f"{array.dtype} of shape {array.shape}",
            fix="store it in the input's own type and shape, at least one row, the first dimension the batch",
        )
    missing = rows_with(np.isnan(array))
    if missing.any():
        raise SamplesInvalid(
            wanted=f"numbers in every row of {spec.name} in {path.name}",
            found=f"NaN in row {int(missing.argmax())}, {missing.sum()} of {len(missing)} rows in all",
            fix="remove these rows, or write the number that the model gets there: NaN cannot be compared",
        )


def feed(
    inputs: tuple[TensorSpec, ...],
    shapes: Mapping[str, tuple[int, ...]],
    samples: Arrays,
    draws: Draws = _USUAL,
    *,
    first: int = 0,
) -> Arrays:
    """Return one array per input in the given shapes; samples are repeated or cut along each dimension.

    Args:
        inputs: the signature's inputs.
        shapes: the shape of each, by name.
        samples: arrays of the sample file by input; other inputs are drawn, the same in every run.
        draws: how numbers are drawn.
        first: the row at which the samples start.
    """
    return {
        spec.name: _fitted(samples[spec.name], shapes[spec.name], first)
        if spec.name in samples
        else draws.drawn(spec, index, shapes[spec.name])
        for index, spec in enumerate(inputs)
    }


def _fitted(sample: npt.NDArray[Any], shape: tuple[int, ...], first: int) -> npt.NDArray[Any]:
    sample = np.roll(sample, -first, axis=0) if sample.ndim and first else sample
    return fitted(sample, shape).reshape(shape)


def one_step_off(inputs: Arrays, arithmetic: Precision) -> Arrays | None:
    """Return `inputs` with every float moved by one rounding step of `arithmetic`; None if none can move.

    A smaller step would vanish in the model's first rounding.
    """
    if not any(is_movable(value.dtype.name, arithmetic) for value in inputs.values()):
        return None
    factor = 1 + 2.0 ** -_MANTISSA[arithmetic]
    return {
        name: value * value.dtype.type(factor) if is_movable(value.dtype.name, arithmetic) else value
        for name, value in inputs.items()
    }


def is_movable(dtype: str, arithmetic: Precision) -> bool:
    """Return whether numbers of `dtype` can move by one step of `arithmetic`, not only by a larger one."""
    return _MANTISSA_OF_TYPE.get(dtype, 0) >= _MANTISSA[arithmetic]


def flipped(value: npt.NDArray[Any], arithmetic: Precision) -> npt.NDArray[Any]:
    """Return `value` with every finite number moved by one rounding step, half of them up and half down.

    This flips the last mantissa bit of `arithmetic`, so the same call on the result gives `value` back,
    bit by bit.
    """
    bits = value.view(f"u{value.itemsize}")
    step = bits.dtype.type(1 << max(0, _MANTISSA_OF_TYPE[value.dtype.name] - _MANTISSA[arithmetic]))
    moved: npt.NDArray[Any] = np.where(np.isfinite(value), bits ^ step, bits).view(value.dtype)
    return moved


def describe(inputs: tuple[TensorSpec, ...], samples: Arrays, draws: Draws = _USUAL) -> str:
    """Describe where the values came from, with the range of those that were drawn."""
    ranges = [
        f"{printable_name(spec.name)} {draws.range_of(spec)}" for spec in inputs if spec.name not in samples
    ]
    drawn = f"drawn numbers (seed {SEED}): {', '.join(ranges)}"
    if not samples:
        return drawn
    text = "the release's samples, repeated or cut to each shape"
    return f"{text}; {drawn}" if ranges else text
