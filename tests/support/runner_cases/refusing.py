"""What does not fit is refused by name, before TensorRT or the GPU sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycuda.driver as cuda
import tensorrt as trt

from tasks.domain.errors import GpuUnavailable, InputInvalid, RunFailed, TargetUnavailable
from tests.stand_in.hardware import boards
from tests.support.runner_cases.engines import (
    LARGE,
    SMALL,
    batch,
    check_product,
    nothing_left,
    opened,
    patched,
    places_plan,
    product_plan,
    refusal,
    whole_plan,
)


def case_names() -> None:
    with opened(product_plan()) as runner:
        error = refusal(InputInvalid, runner.run, {"x": batch(1), "z": batch(1)})
        assert (error.wanted, error.found) == ("the inputs x", "z that the engine does not have")
        error = refusal(InputInvalid, runner.run, {})
        assert (error.wanted, error.found) == ("the inputs x", "no x")
        assert not error.retryable


def case_ranks_and_fixed_dimensions() -> None:
    with opened(product_plan()) as runner:
        for shape in ((3,), (1, 1, 3), (2, 4), ()):
            error = refusal(InputInvalid, runner.run, {"x": np.zeros(shape, np.float32)})
            assert error.wanted == "input x of shape [?, 3]"
            assert error.found == f"shape {list(shape)}"


def case_shapes_outside_of_the_profile() -> None:
    with opened(product_plan()) as runner:
        for rows in (0, 5):
            error = refusal(InputInvalid, runner.run, {"x": batch(rows)})
            assert error.wanted == "shapes within a profile: x from [1, 3] to [4, 3] (profile 0)"
            assert error.found == f"x [{rows}, 3]"


def case_shapes_outside_of_each_profile() -> None:
    with opened(product_plan(SMALL, LARGE)) as runner:
        error = refusal(InputInvalid, runner.run, {"x": batch(5)})
        assert "x from [1, 3] to [4, 3] (profile 0), x from [8, 3] to [32, 3] (profile 1)" in error.wanted
        error = refusal(InputInvalid, runner.run, {"x": batch(2)}, profile=1)
        assert error.wanted == "shapes within a profile: x from [8, 3] to [32, 3] (profile 1)"
        for number in (2, -1):
            error = refusal(InputInvalid, runner.run, {"x": batch(2)}, profile=number)
            assert (error.wanted, error.found) == ("a profile from 0 to 1", str(number))


def case_types_that_would_lose_something() -> None:
    with opened(product_plan()) as runner:
        for array in (batch(1).astype(np.float64), np.zeros((1, 3), np.int64), np.array([["a", "b", "c"]])):
            error = refusal(InputInvalid, runner.run, {"x": array})
            assert error.wanted == "input x of type float32"
            assert error.found.startswith(f"type {array.dtype}")
            assert "astype('float32')" in error.fix
    with opened(whole_plan()) as runner:
        kind = runner.inputs[0].dtype
        refusal(InputInvalid, runner.run, {"x": np.array([1.0, 2.0, 3.0])})
        too_large = np.array([1, 2, 2**31 if kind == "int32" else 2**63], np.uint64)
        error = refusal(InputInvalid, runner.run, {"x": too_large})
        assert error.found == f"type uint64 from 1 to {too_large[2]}"


def case_another_thread() -> None:
    import threading  # noqa: PLC0415

    with opened(product_plan()) as runner:
        texts: list[str] = []

        def use() -> None:
            inputs = {"x": batch(1)}
            errors = (
                refusal(InputInvalid, runner.run, inputs),
                refusal(InputInvalid, runner.bind, inputs),
                refusal(InputInvalid, runner.close),
            )
            texts.extend(error.found for error in errors)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert texts == ["another thread"] * 3
        assert runner.run({"x": batch(1)})


def case_a_closed_engine() -> None:
    runner = opened(product_plan())
    runner.close()
    runner.close()
    assert refusal(InputInvalid, runner.run, {"x": batch(1)}).found == "a closed one"


def case_a_plan_that_tensorrt_does_not_take() -> None:
    with nothing_left():
        error = refusal(TargetUnavailable, opened, b"no plan")
    assert "Magic tag does not match" in error.found


def case_a_gpu_that_is_not_there() -> None:
    error = refusal(GpuUnavailable, opened, product_plan(), gpu_index=7)
    assert "index 7" in error.wanted


def case_no_memory_for_the_plan() -> None:
    """It is no fault of the plan, which loads as soon as there is memory."""

    def load(self: Any, plan: bytes) -> None:
        del plan
        self.logger.log(trt.ILogger.ERROR, "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime "
                        "(out of memory)")  # fmt: skip

    with nothing_left(), patched(trt.Runtime, deserialize_cuda_engine=load):
        error = refusal(GpuUnavailable, opened, product_plan())
    assert "out of memory" in error.found
    assert error.retryable


def case_a_runtime_that_tensorrt_does_not_make() -> None:
    def make(self: Any, logger: Any) -> None:
        del self
        logger.log(trt.ILogger.ERROR, "CUDA initialization failure with error: 2")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    with nothing_left(), patched(trt.Runtime, __init__=make):
        error = refusal(GpuUnavailable, opened, product_plan())
    assert "CUDA initialization failure" in error.found
    assert error.retryable


def case_no_memory_for_the_context() -> None:
    def create(self: Any) -> None:
        self._logger.log(trt.ILogger.ERROR, "Error Code 1: Cuda Runtime (out of memory)")

    with nothing_left(), patched(trt.ICudaEngine, create_execution_context=create):
        error = refusal(GpuUnavailable, opened, product_plan())
    assert "out of memory" in error.found
    assert error.retryable


def case_no_memory_for_the_tensors_and_then_enough() -> None:
    with nothing_left(), opened(product_plan()) as runner:
        runner.run({"x": batch(1)})
        with patched(type(boards()[0]), memory=0):
            error = refusal(GpuUnavailable, runner.run, {"x": batch(4)})
            assert "out of memory" in error.found
        x = batch(4)
        check_product(runner.run({"x": x})["y"], x)


def case_no_memory_for_an_output_whose_size_shows_late() -> None:
    with nothing_left(), opened(places_plan()) as runner:
        runner.run({"x": np.zeros((4, 3), np.float32)})
        with patched(type(boards()[0]), memory=0):
            error = refusal(GpuUnavailable, runner.run, {"x": np.ones((4, 3), np.float32)})
            assert "out of memory" in error.found
        assert runner.run({"x": np.ones((4, 3), np.float32)})["y"].shape == (2, 12)


def case_tensorrt_that_stops_and_then_goes_on() -> None:
    def stop(self: Any, stream: int) -> bool:
        del stream
        self.engine._logger.log(trt.ILogger.ERROR, "Error Code 1: Myelin (it broke)")
        return False

    with nothing_left(), opened(product_plan()) as runner:
        with patched(trt.IExecutionContext, execute_async_v3=stop):
            error = refusal(RunFailed, runner.run, {"x": batch(2)})
            assert error.found == "it ran into an error: Error Code 1: Myelin (it broke)"
            assert refusal(RunFailed, runner.run, {"x": batch(2)}).found == error.found, "not twice in it"
        x = batch(2)
        check_product(runner.run({"x": x})["y"], x)


def case_an_error_on_the_gpu() -> None:
    def fail(self: Any) -> None:
        del self
        raise cuda.LaunchError("cuStreamSynchronize failed: unspecified launch failure")

    with nothing_left(), opened(product_plan()) as runner, patched(cuda.Stream, synchronize=fail):
        error = refusal(RunFailed, runner.run, {"x": batch(2)})
        assert "unspecified launch failure" in error.found
