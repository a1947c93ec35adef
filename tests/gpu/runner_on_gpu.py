"""Runs a fetched engine beside a CUDA context of the program's own, on a machine with an NVIDIA GPU.

    PYTHONPATH=. /opt/trt/bin/python tests/gpu/runner_on_gpu.py resnet.plan x.npz

In a toolchain's interpreter. Prints as JSON what the stand-in of the tests cannot know: whether memory comes
back after many engines, whether the program's own context stays usable, and whether this TensorRT can be
captured as a CUDA graph. Ends with status 1 where an engine changes its answer or the context is lost.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from tasks.children.arrays import read_arrays
from tasks.children.compare import Arrays, relative_error
from tasks.domain.errors import InputInvalid
from tasks.tensorrt.runner import Engine  # before pycuda, see `tasks.tensorrt.inside.library`

import pycuda.autoinit  # isort: skip
import pycuda.driver as cuda  # isort: skip

_ROUNDS = 10
_RUNS = 20


def error_of(actual: Arrays, expected: Arrays) -> float:
    """Return the largest relative error of any output."""
    return max(relative_error(expected[name], actual[name])[1] for name in expected)


def free_memory() -> int:
    """Return the free memory of the GPU in bytes, asked in the program's own context."""
    return int(cuda.mem_get_info()[0])


def graph_answer(engine: Engine, inputs: Arrays) -> tuple[Arrays | None, str]:
    """Return what a CUDA graph of the engine answers, or why there is none."""
    try:
        with engine.bind(inputs, graph=True) as bound:
            for _ in range(_RUNS):
                bound.enqueue()
            return bound.fetch(), ""
    except InputInvalid as error:
        return None, error.found


def main() -> None:
    """Run everything."""
    plan, inputs = sys.argv[1], read_arrays(Path(sys.argv[2]))
    own = np.arange(1 << 20, dtype=np.float32)
    held, back = cuda.to_device(own), np.empty_like(own)
    with Engine.open(plan) as engine:
        first = engine.run(inputs)
    before = free_memory()
    again, graph, why = 0.0, None, ""
    for _ in range(_ROUNDS):
        with Engine.open(plan) as engine, Engine.open(plan) as beside:
            again = max(again, *(error_of(runner.run(inputs), first) for runner in (engine, beside)))
            graph, why = graph_answer(engine, inputs)
    after = free_memory()
    cuda.memcpy_dtoh(back, held)
    figures = {
        "device": pycuda.autoinit.device.name(),
        "outputs": {name: [str(array.dtype), list(array.shape)] for name, array in first.items()},
        "error_between_runs": again,
        "error_of_the_graph": None if graph is None else error_of(graph, first),
        "why_no_graph": why,
        "memory_lost_bytes": before - after,
        "own_context_usable": bool(np.array_equal(own, back)),
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    sys.exit(0 if figures["own_context_usable"] and again < 1e-3 else 1)


if __name__ == "__main__":
    main()
