"""Input values for the reference: the release's samples where there are some, else drawn numbers."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.children.compare import Arrays
from tasks.domain.errors import SamplesInvalid
from tasks.domain.record import TensorSpec
from tasks.tensorflow.npz_check import check_npz
from tasks.tensorflow.shapes import written

_SEED = 0
_FLOAT32_STEP = 1.2e-7


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
        axis == 0 or dim is None or dim == have
        for axis, (dim, have) in enumerate(zip(spec.shape, array.shape, strict=False))
    )
    if str(array.dtype) != spec.dtype or not fits or not array.size:
        raise SamplesInvalid(
            wanted=f"{spec.dtype} of shape {written(spec.shape)} for input {spec.name} in {path.name}",
            found=f"{array.dtype} of shape {array.shape}",
            fix="store it in the input's own type and shape, at least one row, the first dimension the batch",
        )


def feed(inputs: tuple[TensorSpec, ...], shapes: Mapping[str, tuple[int, ...]], samples: Arrays) -> Arrays:
    """Return one array per input in the given shapes; samples are repeated or cut along each dimension."""
    return {
        spec.name: _fitted(samples[spec.name], shapes[spec.name])
        if spec.name in samples
        else _drawn(spec, index, shapes[spec.name])
        for index, spec in enumerate(inputs)
    }


def _fitted(sample: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    repeats = [-(-want // have) for want, have in zip(shape, sample.shape, strict=True)]
    return np.ascontiguousarray(np.tile(sample, repeats)[tuple(slice(dim) for dim in shape)]).reshape(shape)


def _drawn(spec: TensorSpec, index: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return numbers that any model takes: standard normal, or 0 and 1, which every vocabulary has."""
    draw = np.random.default_rng([_SEED, index])
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return draw.standard_normal(shape).astype(dtype)
    return draw.integers(0, 256 if dtype == np.uint8 else 2, shape).astype(dtype)


def one_step_off(inputs: Arrays) -> Arrays | None:
    """Return `inputs` with every float moved by one rounding step; None where no input is a float."""
    if not any(value.dtype.kind == "f" for value in inputs.values()):
        return None
    return {name: _moved(value) if value.dtype.kind == "f" else value for name, value in inputs.items()}


def _moved(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    step = max(_FLOAT32_STEP, float(np.finfo(value.dtype).eps))  # engines compute float64 as float32
    moved: npt.NDArray[Any] = value * np.asarray(1 + step, value.dtype)
    return moved


def describe(inputs: tuple[TensorSpec, ...], samples: Arrays) -> str:
    """Return for people where the values came from."""
    drawn = [spec.name for spec in inputs if spec.name not in samples]
    if not samples:
        return f"drawn numbers (seed {_SEED})"
    text = "the release's samples, repeated or cut to each shape"
    return f"{text}; drawn numbers (seed {_SEED}) for {', '.join(drawn)}" if drawn else text
