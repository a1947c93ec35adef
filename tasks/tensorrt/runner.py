"""Runs stored engines in your own program.

    from tasks.tensorrt.runner import Engine

    with Engine.open("resnet.plan") as engine:
        outputs = engine.run({"image": batch})

Needs only what a toolchain has: Python from 3.10 on, NumPy, TensorRT and pycuda.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy.typing as npt

from tasks.tensorrt.inside.engine.bound import Bound
from tasks.tensorrt.inside.engine.opening import open_runner
from tasks.tensorrt.inside.engine.runner import Runner
from tasks.tensorrt.inside.engine.signature import Arrays, ShapeRange, Tensor
from tasks.tensorrt.inside.library import share_cpp_library

__all__ = ["Bound", "Engine", "ShapeRange", "Tensor"]

share_cpp_library()  # here: a program may import pycuda right after this module


class Engine:
    """A stored engine on a GPU: a context manager that frees everything at its end.

    Several may be open at a time, beside CUDA contexts of your own (`pycuda.autoinit`), which stay current.
    It belongs to the thread that opens it: in another thread every call raises InputInvalid, except
    `Bound.enqueue`, which checks nothing.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @classmethod
    def open(  # noqa: PLR0913 (each is an option)
        cls,
        path: str | os.PathLike[str],
        *,
        sha256: str | None = None,
        module: str | None = None,
        gpu: int = 0,
        plugins: str | os.PathLike[str] | None = None,
        allow_host_code: bool = False,
        trust: str | os.PathLike[str] | None = None,
    ) -> Engine:
        """Open the plan at `path` after checking its digest.

        `enginefarm engines fetch` writes the record beside the plan (`resnet.plan.json`). It has the digest,
        the TensorRT and the GPU of the plan: others are refused before TensorRT gets the plan.

        Args:
            path: the plan.
            sha256: the digest that the plan must have; with `module` it replaces the record.
            module: Python module of TensorRT, `tensorrt` or `tensorrt_rtx`; default: the record's.
            gpu: index of the GPU among the visible ones.
            plugins: folder with the libraries that the record names; default: ENGINEFARM_PLUGINS.
            allow_host_code: let a version-compatible plan run the native code that it contains (TensorRT's
                `engine_host_code_allowed`). It runs with the rights of your program.
            trust: file of trusted keys: a plan is refused unless one of them signed it (`resnet.plan.sig`
                beside it); default: ENGINEFARM_TRUST. Needs `cryptography`.

        Raises:
            InputInvalid: neither a record nor a digest is given, there is no plan, or it contains native code
                and `allow_host_code` is not set.
            RecordInvalid: the record cannot be read.
            SignatureRefused: no trusted key signed the engine, and `trust` demands it.
            KeyUnusable: the file of trusted keys cannot be used.
            DigestMismatch: the plan does not match the record or the digest.
            TargetUnavailable: the plan does not run on this GPU with this TensorRT.
            ToolchainBroken: TensorRT does not load.
            RunnerMissing: pycuda does not load.
            PluginRefused: a library is missing, is not the one in the record, or does not load.
            GpuUnavailable: there is no such GPU, or it is out of memory.
        """
        folder = plugins or os.environ.get("ENGINEFARM_PLUGINS")
        runner = open_runner(
            Path(path),
            sha256=sha256,
            module=module,
            gpu_index=gpu,
            plugins=None if folder is None else Path(folder),
            allow_host_code=allow_host_code,
            trust=None if trust is None else Path(trust),
        )
        return cls(runner)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Name, NumPy type and shape of each input; None for dimensions that a run decides."""
        return self._runner.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Name, NumPy type and shape of each output; None for dimensions that a run decides."""
        return self._runner.outputs

    @property
    def profiles(self) -> tuple[Mapping[str, ShapeRange], ...]:
        """For each optimisation profile the smallest, best and largest shape by input."""
        return self._runner.profiles

    def run(self, inputs: Mapping[str, npt.ArrayLike], *, profile: int | None = None) -> Arrays:
        """Return the outputs for `inputs`, by name, as new arrays.

        Args:
            inputs: one array for each input. Only lossless conversions are made: to wider types, and of whole
                numbers to a narrower type that can represent all of them.
            profile: index of the optimisation profile; default: one that accepts the shapes.

        Raises:
            InputInvalid: a name, type or shape does not fit; the error says which, and what would.
            RunFailed: TensorRT or CUDA stopped with an error.
            GpuUnavailable: the GPU is out of memory.
        """
        return self._runner.run(inputs, profile=profile)

    def bind(
        self, inputs: Mapping[str, npt.ArrayLike], *, profile: int | None = None, graph: bool = False
    ) -> Bound:
        """Put `inputs` on the GPU and return a handle to run them repeatedly: `enqueue`, then `fetch`.

        Close it, or use it in a `with`; until then the GPU's primary context is current.

        Args:
            inputs: as for `run`.
            profile: as for `run`.
            graph: capture the work as a CUDA graph, and launch the graph.

        Raises:
            InputInvalid: as for `run`, or the engine's work cannot be captured as a graph.
            RunFailed: TensorRT or CUDA stopped with an error.
            GpuUnavailable: the GPU is out of memory.
        """
        return self._runner.bind(inputs, profile=profile, graph=graph)

    def close(self) -> None:
        """Free the engine and all its memory; a second call does nothing."""
        self._runner.close()

    def __enter__(self) -> Engine:  # noqa: PYI034 (Python 3.10 has no Self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
