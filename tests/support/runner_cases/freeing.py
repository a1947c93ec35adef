"""Engines beside each other and beside contexts of the user."""

from __future__ import annotations

import gc
import weakref
from contextlib import ExitStack
from typing import Any

import pycuda.driver as cuda
import pytest
import tensorrt as trt

from tasks.domain.errors import InputInvalid, RunFailed
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
)


def case_everything_is_freed_after_an_error_in_the_middle() -> None:
    def work(plan: bytes) -> None:
        with opened(plan) as runner:
            runner.run({"x": batch(2)})
            assert memory.count() > 0
            raise ZeroDivisionError

    for plan in (product_plan(), places_plan()):
        with nothing_left(), pytest.raises(ZeroDivisionError):
            work(plan)


def case_everything_is_freed_while_the_error_is_still_looked_at() -> None:
    """A traceback holds the frames of the runner; they hold no object of TensorRT."""
    kept: list[weakref.ref[Any]] = []

    def stop(self: Any, stream: int) -> bool:
        del stream
        kept.extend((weakref.ref(self), weakref.ref(self.engine)))
        return False

    def work() -> None:
        with patched(trt.IExecutionContext, execute_async_v3=stop), opened(product_plan()) as runner:
            runner.run({"x": batch(2)})

    with nothing_left(), pytest.raises(RunFailed) as caught:
        work()
    assert caught.value.__traceback__ is not None
    gc.collect()
    assert [reference() for reference in kept] == [None, None]
    assert memory.count() == 0


def case_everything_is_freed_after_an_error_that_stays_on_the_gpu() -> None:
    """Every call of the driver answers with the error from then on; the first one is told."""

    def broken(*_: Any) -> None:
        raise Fault(700, "CUDA_ERROR_ILLEGAL_ADDRESS")

    def refuse(self: Any) -> None:
        real(self)
        freed.append(self)
        raise cuda.LaunchError("cuMemFree failed: illegal address")

    def work() -> None:
        with opened(product_plan()) as runner, runner.bind({"x": batch(2)}, graph=True) as bound:
            with_error.enter_context(patched(streams, wait=broken))
            with_error.enter_context(patched(driver, _cuGraphExecDestroy=broken))
            with_error.enter_context(patched(cuda.DeviceAllocation, free=refuse))
            bound.synchronize()

    real, freed = cuda.DeviceAllocation.free, list[Any]()
    with nothing_left():
        with ExitStack() as with_error, pytest.raises(RunFailed, match="cuStreamSynchronize failed"):
            work()
        assert len(freed) == 2
        freed.clear()
    streams._graphs.clear()


def case_the_context_of_the_user_stays_the_current_one() -> None:
    cuda.init()
    own = cuda.Device(1).retain_primary_context()
    own.push()
    try:
        with nothing_left():
            runner = opened(product_plan())
            assert contexts() == [1]
            runner.run({"x": batch(1)})
            assert contexts() == [1]
            with runner.bind({"x": batch(1)}, graph=True):
                assert contexts() == [1, 0]
            assert contexts() == [1]
            with pytest.raises(InputInvalid):
                runner.run({})
            runner.close()
    finally:
        own.pop()
    assert contexts() == []


def case_engines_beside_each_other_on_one_gpu_and_on_two() -> None:
    data, x = product_plan(), batch(3)
    with (
        nothing_left(),
        opened(data) as first_runner,
        opened(data) as second_runner,
        opened(data, gpu_index=1) as third_runner,
    ):
        for rows in (1, 3, 2):
            for runner in (first_runner, second_runner, third_runner):
                y = runner.run({"x": x[:rows]})["y"]
                check_product(y, x[:rows])
        with first_runner.bind({"x": batch(2)}) as first, third_runner.bind({"x": batch(3)}) as last:
            first.enqueue()
            last.enqueue()
            assert (first.fetch()["y"].shape, last.fetch()["y"].shape) == ((2, 5), (3, 5))
            check_product(second_runner.run({"x": x})["y"], x)
