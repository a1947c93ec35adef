"""Running an engine with pycuda."""

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
    same shapes allocate nothing but the arrays that they return. Other engines, and a CUDA context that the
    process has made current, are left alone. It belongs to the thread that opens it, and refuses others.

    Args:
        trt: the module of TensorRT.
        cuda: the module `pycuda.driver`.
        plan: the engine, whose digest the caller has checked: TensorRT takes other bytes without a word.
        gpu_index: the GPU, among the visible ones.
        plugins: libraries that the engine needs, see `load_plugins`.
        carries_code: whether the plan holds a runtime, which is let run, for later versions to run it with.

    Raises:
        GpuUnavailable: there is no such GPU, or it is out of memory.
        TargetUnavailable: the plan does not run on this GPU with this TensorRT.
        PluginRefused: a library is not the one that is named, or does not load.
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
        except (TypeError, RuntimeError) as error:  # all that TensorRT says of a GPU that it cannot use
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
        """What the engine takes."""
        return self._signature.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What the engine gives."""
        return self._signature.outputs

    @property
    def profiles(self) -> tuple[Mapping[str, ShapeRange], ...]:
        """For each optimisation profile the shapes that it takes, by input."""
        return self._signature.profiles

    @property
    def num_profiles(self) -> int:
        """How many optimisation profiles there are."""
        return len(self._signature.profiles)

    def profiles_for(self, inputs: Mapping[str, npt.ArrayLike]) -> tuple[int, ...]:
        """Return the optimisation profiles that take the shapes of `inputs`.

        Raises:
            InputInvalid: the inputs do not fit the engine.
        """
        return self._signature.profiles_that_take(self._signature.fitted(inputs))

    def run(self, inputs: Mapping[str, npt.ArrayLike], *, profile: int | None = None) -> Arrays:
        """Return the outputs for `inputs`, by name, as new arrays of the engine's own element types.

        Args:
            inputs: one array for each input, see `Signature.fitted` for what is converted.
            profile: the optimisation profile; None takes one whose ranges hold the shapes.

        Raises:
            InputInvalid: the inputs do not fit; nothing was run.
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
        """Return the engine ready to run on `inputs` again and again; until that is closed it is busy.

        Args:
            inputs: as for `run`.
            profile: as for `run`.
            graph: run once, capture that as a CUDA graph, and launch the graph from then on.

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
            raise InputInvalid(
                wanted="an engine that is open", found="one that is closed", fix="open the engine again"
            )
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
        """Run the body; after an error nothing is left running, and the next run starts from scratch."""
        try:
            with self._errors():
                yield
        except BaseException:
            if self._placement is not None:
                self._placement.forget()
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn pycuda's errors to the farm's."""
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
