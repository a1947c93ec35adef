"""Runs an engine with pycuda."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy.typing as npt

from tasks.domain.errors import InputInvalid
from tasks.tensorrt.inside.engine.bound import Bound
from tasks.tensorrt.inside.engine.device_context import DeviceContext
from tasks.tensorrt.inside.engine.placement import Placement, no_memory, run_failed
from tasks.tensorrt.inside.engine.signature import Arrays, ShapeRange, Signature, Tensor, read_signature
from tasks.tensorrt.inside.messages import Messages, collecting_logger
from tasks.tensorrt.inside.plugins import load_plugins
from tasks.tensorrt.inside.refusals import gpu_trouble, load_refusal


class Runner:
    """An engine on a GPU: a context manager that frees everything at its end.

    Page-locked memory on the host and memory on the GPU are kept between runs and only grow, so runs of the
    same shapes allocate only the arrays that they return. Other engines, and the process's current CUDA
    context, are not touched. A runner belongs to the thread that opens it, and refuses others.

    Args:
        trt: the module of TensorRT.
        cuda: the module `pycuda.driver`.
        plan: the engine; the caller has checked its digest, because TensorRT accepts damaged bytes silently.
        gpu_index: index of the GPU among the visible ones.
        plugins: libraries that the engine needs, see `load_plugins`.
        carries_code: whether the plan contains a runtime for later versions, which is then allowed to run.

    Raises:
        GpuUnavailable: there is no such GPU, or it is out of memory.
        TargetUnavailable: the plan does not run on this GPU with this TensorRT.
        PluginRefused: a library is not the expected one, or does not load.
        BuildRefused: an input or output has a type that NumPy does not have.
    """

    def __init__(  # noqa: PLR0913 (a plan, where it runs, and what it needs)
        self,
        trt: Any,
        cuda: Any,
        plan: bytes,
        *,
        gpu_index: int,
        plugins: Sequence[dict[str, str]] = (),
        carries_code: bool = False,
    ) -> None:
        self._trt, self._cuda, self._messages = trt, cuda, Messages()
        self._runtime: Any = None
        self._engine: Any = None
        self._placement: Placement | None = None
        self._bound: Bound | None = None
        self._device = DeviceContext(cuda, gpu_index)
        load_plugins(trt, list(plugins))
        with self._device.current():
            try:
                self._signature = self._load(plan, carries_code=carries_code)
            except BaseException:
                self._free()
                raise

    def _load(self, plan: bytes, *, carries_code: bool) -> Signature:
        self._logger = collecting_logger(self._trt, self._messages)
        try:
            self._runtime = self._trt.Runtime(self._logger)
        except (TypeError, RuntimeError) as error:  # TensorRT's only signs of a GPU that it cannot use
            raise gpu_trouble(self._messages) from error
        self._runtime.engine_host_code_allowed = carries_code
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise load_refusal(self._messages)
        signature = read_signature(self._trt, self._engine)
        with self._errors():
            self._placement = Placement(self._trt, self._cuda, self._engine, signature, self._messages)
        return signature

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The engine's inputs."""
        return self._signature.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The engine's outputs."""
        return self._signature.outputs

    @property
    def profiles(self) -> tuple[Mapping[str, ShapeRange], ...]:
        """For each optimisation profile the accepted shapes, by input."""
        return self._signature.profiles

    @property
    def num_profiles(self) -> int:
        """The number of optimisation profiles."""
        return len(self._signature.profiles)

    def profiles_for(self, inputs: Mapping[str, npt.ArrayLike]) -> tuple[int, ...]:
        """Return the optimisation profiles that accept the shapes of `inputs`.

        Raises:
            InputInvalid: the inputs do not fit the engine.
        """
        return self._signature.profiles_that_take(self._signature.fitted(inputs))

    def run(self, inputs: Mapping[str, npt.ArrayLike], *, profile: int | None = None) -> Arrays:
        """Return the outputs for `inputs`, by name, as new arrays of the engine's own element types.

        Args:
            inputs: one array for each input; see `Signature.fitted` for conversions.
            profile: the optimisation profile; None: one that accepts the shapes.

        Raises:
            InputInvalid: the inputs do not fit; the engine did not run.
            RunFailed: TensorRT or CUDA stopped with an error.
            GpuUnavailable: the GPU is out of memory.
        """
        placement, arrays, chosen = self._prepared(inputs, profile)
        with self._device.current(), self._working():
            placement.put(arrays, chosen)
            if not placement.enqueue():
                raise placement.failed("it ran into an error")
            return placement.fetch()

    def bind(
        self, inputs: Mapping[str, npt.ArrayLike], *, profile: int | None = None, graph: bool = False
    ) -> Bound:
        """Return the engine ready to run on `inputs` repeatedly; it is busy until the result is closed.

        Args:
            inputs: as for `run`.
            profile: as for `run`.
            graph: run once, capture the work as a CUDA graph, and launch the graph from then on.

        Raises:
            InputInvalid: the inputs do not fit, or the engine's work cannot be captured as a graph.
            RunFailed: TensorRT or CUDA stopped with an error.
            GpuUnavailable: the GPU is out of memory.
        """
        placement, arrays, chosen = self._prepared(inputs, profile)
        self._bound = bound = Bound(placement, self._device, self._working, self._unbind)
        try:
            with self._working():
                placement.put(arrays, chosen)
                placement.stream.synchronize()
            if graph:
                bound.capture()
        except BaseException:
            bound.close()
            raise
        return bound

    def _prepared(
        self, inputs: Mapping[str, npt.ArrayLike], profile: int | None
    ) -> tuple[Placement, Arrays, int]:
        placement = self._usable()
        self._messages.clear()
        arrays = self._signature.fitted(inputs)
        return placement, arrays, self._signature.profile_for(arrays, profile, placement.profile)

    def _usable(self) -> Placement:
        self._device.require_thread()
        if self._placement is None:
            raise InputInvalid(wanted="an open engine", found="a closed one", fix="open the engine again")
        if self._bound is not None:
            raise InputInvalid(
                wanted="an engine that is not bound",
                found="that it is bound to inputs",
                fix="close what `bind` returned, or open the engine a second time",
            )
        return self._placement

    def _unbind(self) -> None:
        self._bound = None

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Run the body; after an error nothing keeps running, and the next run starts from scratch."""
        try:
            with self._errors():
                yield
        except BaseException:
            if self._placement is not None:
                self._placement.forget()
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise pycuda's errors as the farm's."""
        try:
            yield
        except self._cuda.MemoryError as error:
            raise no_memory(str(error)) from error
        except self._cuda.Error as error:
            raise run_failed(f"{error}: {self._messages.said()}") from error

    def close(self) -> None:
        """Free the engine and all its memory; a second call does nothing."""
        if self._engine is None:
            return
        self._device.require_thread()
        try:
            if self._bound is not None:
                self._bound.close()
        finally:
            with self._device.current():
                self._free()

    def _free(self) -> None:
        if self._placement is not None:
            self._placement.free()
        self._placement = self._engine = self._runtime = None

    def __enter__(self) -> Runner:  # noqa: PYI034 (Python 3.10 has no Self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
