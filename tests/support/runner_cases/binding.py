"""Engines that are bound to inputs: nothing but the call, or a CUDA graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorrt as trt

from tasks.domain.errors import InputInvalid, RunFailed
from tasks.tensorrt.inside.engine.runner import Runner
from tests.stand_in import driver
from tests.stand_in.hardware import Fault, contexts, memory, streams
from tests.support.runner_cases.engines import (
    batch,
    check_product,
    nothing_left,
    opened,
    patched,
    places_plan,
    product_plan,
    refusal,
)


def case_a_bound_run_gives_what_a_run_gives() -> None:
    with nothing_left(), opened(product_plan()) as runner:
        for graph in (False, True):
            x = batch(3)
            with runner.bind({"x": x}, graph=graph) as bound:
                for _ in range(3):
                    bound.enqueue()
                bound.synchronize()
                check_product(bound.fetch()["y"], x)


def case_values_decide_shapes_in_a_bound_run_too() -> None:
    x = np.ones((2, 3), np.float32)
    with nothing_left(), opened(places_plan()) as runner, runner.bind({"x": x}) as bound:
        error = refusal(RunFailed, bound.fetch)
        assert "did not report the shape of y" in error.found
        bound.enqueue()
        assert bound.fetch()["y"].shape == (2, 6)


def case_enqueue_is_the_call_and_nothing_else() -> None:
    """Neither memory, copies, waiting nor other contexts: the whole of it are two calls."""
    import sys  # noqa: PLC0415

    with opened(product_plan()) as runner, runner.bind({"x": batch(2)}) as bound:
        called: list[str] = []

        def watch(frame: Any, event: str, _: Any) -> None:
            if event in ("call", "c_call") and "/tasks/" in frame.f_code.co_filename:
                called.append(frame.f_code.co_name)

        sys.setprofile(watch)
        try:
            bound.enqueue()
        finally:
            sys.setprofile(None)
    assert called == ["enqueue"]


def case_a_graph_is_launched_and_tensorrt_is_not_called_again() -> None:
    calls: list[int] = []
    real = trt.IExecutionContext.execute_async_v3

    def count(self: Any, stream: int) -> bool:
        calls.append(stream)
        return bool(real(self, stream))

    with (
        nothing_left(),
        patched(trt.IExecutionContext, execute_async_v3=count),
        opened(product_plan()) as runner,
        runner.bind({"x": batch(3)}, graph=True) as bound,
    ):
        assert len(calls) == 2, "one to warm up, one to capture"
        for _ in range(5):
            bound.enqueue()
        assert len(calls) == 2
    assert streams._graphs == {}, "all graphs are destroyed"


def case_a_busy_engine_refuses_and_is_free_again() -> None:
    with opened(product_plan()) as runner:
        bound = runner.bind({"x": batch(2)})
        for call in (runner.run, runner.bind):
            assert refusal(InputInvalid, call, {"x": batch(2)}).found == "that it is bound to inputs"
        bound.close()
        bound.close()
        for closed in (bound.enqueue, bound.synchronize, bound.fetch):
            assert "a closed one" in refusal(InputInvalid, closed).found
        x = batch(4)
        check_product(runner.run({"x": x})["y"], x)


def case_inputs_that_do_not_fit_leave_the_engine_free() -> None:
    with nothing_left(), opened(product_plan()) as runner:
        refusal(InputInvalid, runner.bind, {"x": batch(9)})
        assert runner.run({"x": batch(1)})["y"].shape == (1, 5)


def case_no_graph_where_values_decide_shapes() -> None:
    with nothing_left(), opened(places_plan()) as runner:
        error = refusal(InputInvalid, runner.bind, {"x": np.ones((2, 3), np.float32)}, graph=True)
        assert "the shape of y depends on values" in error.found
        assert "without graph" in error.fix
        assert runner.run({"x": np.ones((1, 3), np.float32)})["y"].shape == (2, 3)


def refused_graph(runner: Runner, x: Any) -> str:
    error = refusal(InputInvalid, runner.bind, {"x": x}, graph=True)
    assert "bind without graph=True" in error.fix
    check_product(runner.run({"x": x})["y"], x)
    return error.found


def case_no_graph_where_the_driver_or_tensorrt_refuses() -> None:
    x = batch(2)

    def fault(*_: Any) -> None:
        raise Fault(900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")

    def broken(stream: Any, graph: Any) -> int:
        del graph
        streams.drop_graph(streams.end_recording(stream.value))
        return 901

    real = trt.IExecutionContext.execute_async_v3

    def only_uncaptured(self: Any, stream: int) -> bool:
        return streams._recording[stream] is None and bool(real(self, stream))

    with nothing_left(), opened(product_plan()) as runner:
        with patched(driver, _cuStreamBeginCapture_v2=fault):
            assert "CUDA error 900" in refused_graph(runner, x)
        with patched(driver, _cuStreamEndCapture=broken):
            assert "CUDA error 901 at the end of the capture" in refused_graph(runner, x)
        with patched(driver, _cuGraphInstantiateWithFlags=fault):
            assert "cuGraphInstantiateWithFlags" in refused_graph(runner, x)
        with patched(trt.IExecutionContext, execute_async_v3=only_uncaptured):
            assert "that TensorRT stopped during the capture" in refused_graph(runner, x)
        with patched(driver, _cuGraphLaunch=None):
            assert "too old" in refused_graph(runner, x)
    assert streams._graphs == {}


def case_an_error_of_a_launch_is_told() -> None:
    def fault(*_: Any) -> None:
        raise Fault(700, "CUDA_ERROR_ILLEGAL_ADDRESS")

    with (
        opened(product_plan()) as runner,
        runner.bind({"x": batch(1)}, graph=True) as bound,
        patched(streams, launch=fault),
    ):
        refusal(RunFailed, bound.enqueue)


def case_everything_is_freed_where_a_bound_run_is_left_by_an_error() -> None:
    def work() -> None:
        with opened(product_plan()) as runner:
            runner.bind({"x": batch(2)}, graph=True)
            assert contexts()
            raise KeyError

    with nothing_left(), pytest.raises(KeyError):
        work()
    assert streams._graphs == {}
    assert memory.count() == 0


def case_a_bound_run_that_is_forgotten_is_left_before_the_process_ends() -> None:
    """The whole pycuda aborts a process that ends with a context on its stack."""
    import atexit  # noqa: PLC0415

    runner = opened(product_plan())
    with nothing_left():
        runner.bind({"x": batch(1)})
        assert len(contexts()) == 1
        atexit._run_exitfuncs()
        memory_left = memory.count()
        assert contexts() == []
        runner._device.enter()  # as many as `close` leaves
        runner.close()
        assert memory_left > memory.count()
