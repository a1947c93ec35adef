"""Child: runs an engine on the arrays of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.children.arrays import read_arrays, write_arrays
from tasks.children.compare import Arrays
from tasks.domain.errors import InputInvalid
from tasks.tensorrt.inside.engine.opening import open_runner
from tasks.tensorrt.inside.phases import Phases


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Run the engine once.

    Args:
        request: `plan`, with its record beside it; `sha256`, its digest; `input`, an `.npz` with one array
            for each input; `output`, the file for the outputs; `profile` (None: one that fits),
            `gpu_index`, `plugins`: the folder with the libraries that the record names, or None, and
            `allow_host_code`.
        report: takes the phases `load` and `run`.

    Returns:
        `outputs`: of each its `name`, `dtype`, `shape`, and `min`, `max` and `mean`, None if it has no
        elements; and `seconds` by phase.

    Raises:
        InputInvalid: the file is not an `.npz` of plain arrays, or they do not fit the engine.
        RunFailed: TensorRT or CUDA stopped with an error.
        FarmError: as `tasks.tensorrt.inside.engine.opening.open_runner`.
    """
    phases = Phases(report)
    folder = request["plugins"]
    inputs = _inputs(Path(request["input"]))
    with phases.timed("load"):
        runner = open_runner(
            Path(request["plan"]),
            sha256=request["sha256"],
            module=None,
            gpu_index=request["gpu_index"],
            plugins=None if folder is None else Path(folder),
            allow_host_code=request["allow_host_code"],
        )
    with runner, phases.timed("run"):
        outputs = runner.run(inputs, profile=request["profile"])
    write_arrays(Path(request["output"]), outputs)
    rows = [_tensor_row(name, array) for name, array in outputs.items()]
    return {"outputs": rows, "seconds": phases.seconds}


def _inputs(path: Path) -> Arrays:
    try:
        return read_arrays(path)
    except ValueError as error:
        raise InputInvalid(
            wanted=f"an .npz of plain arrays in {path.name}",
            found=str(error),
            fix="write it with numpy.savez(file, **{input: array}); objects and strings are refused",
        ) from error


def _tensor_row(name: str, array: npt.NDArray[Any]) -> dict[str, Any]:
    figures = dict.fromkeys(("min", "max", "mean"))
    if array.size:
        wide = array.astype(np.float64)
        figures = {"min": float(wide.min()), "max": float(wide.max()), "mean": float(wide.mean())}
    return {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)} | figures
