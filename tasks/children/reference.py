"""The reference file: TensorFlow's answers, so that hosts without TensorFlow can compare with them.

An `.npz` with, for each corner of the shape ranges (`min`, or `min/opt` if both have the same shapes),
`CORNER/input/NAME`, `CORNER/output/NAME` and `CORNER/noise/NAME` (a scalar: TensorFlow's relative noise of
that output). Written by the TensorFlow side, read by the ONNX side and inside toolchains; needs only NumPy
and Python 3.10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.children.arrays import write_arrays
from tasks.children.compare import Arrays

_KEY = re.compile(r"(.+?)/(input|output|noise)/(.*)", re.DOTALL)


@dataclass(frozen=True)
class Corner:
    """One corner of the shape ranges.

    Attributes:
        name: `min`, `opt`, `max`, of a second profile `min 2` and so on; `min/opt` is both. `odd` is
            between them; `again` has other numbers.
        inputs: values by input name, as TensorFlow got them.
        outputs: TensorFlow's values by output name.
        noise: TensorFlow's own relative noise by output name.
    """

    name: str
    inputs: Arrays
    outputs: Arrays
    noise: dict[str, float]

    @property
    def asked(self) -> bool:
        """Whether the request asks for it; the farm adds corners with odd sizes or other numbers."""
        return not self.name.startswith(("odd", "again"))


def answer(corner: str, outputs: Arrays) -> Corner:
    """Return the outputs of another runtime for the inputs of `corner`."""
    return Corner(corner, {}, outputs, {})


def write_reference(path: Path, corners: list[Corner]) -> None:
    """Write `corners` to `path` as an uncompressed `.npz`."""
    arrays: dict[str, Any] = {}
    for corner in corners:
        arrays.update({f"{corner.name}/input/{name}": value for name, value in corner.inputs.items()})
        arrays.update({f"{corner.name}/output/{name}": value for name, value in corner.outputs.items()})
        arrays.update(
            {f"{corner.name}/noise/{name}": np.float64(value) for name, value in corner.noise.items()}
        )
    write_arrays(path, arrays)


def read_reference(path: Path) -> list[Corner]:
    """Read what `write_reference` wrote, in the same order. Nothing in the file is unpickled."""
    corners: dict[str, Corner] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            name, kind, tensor = _parts(key)
            corner = corners.setdefault(name, Corner(name, {}, {}, {}))
            if kind == "noise":
                corner.noise[tensor] = float(arrays[key])
            else:
                (corner.inputs if kind == "input" else corner.outputs)[tensor] = arrays[key]
    return list(corners.values())


def _parts(key: str) -> tuple[str, str, str]:
    """Return corner, kind and tensor. Names of corners and tensors may contain slashes, too."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"{key!r} is not an array of a reference")
    return match[1], match[2], match[3]
