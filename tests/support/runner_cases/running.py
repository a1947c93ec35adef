"""What a run computes, and what it allocates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycuda.driver as cuda
import tensorrt as trt
from onnx import TensorProto, helper

from tasks.children.reference import Corner
from tasks.tensorrt.inside.engine.signature import ShapeRange, Tensor
from tasks.tensorrt.inside.families.registry import family_of
from tasks.tensorrt.inside.library import full_version
from tasks.tensorrt.inside.measure.nvml import GpuWatch
from tasks.tensorrt.inside.measure.session import Session
from tasks.tensorrt.inside.phases import Phases
from tests.stand_in.hardware import memory
from tests.support.runner_cases.engines import (
    LARGE,
    SMALL,
    batch,
    check_product,
    nothing_left,
    opened,
    patched,
    places_plan,
    plan,
    product_plan,
    whole_plan,
)


def case_results_are_those_of_numpy_for_each_shape_of_the_profile() -> None:
    with nothing_left(), opened(product_plan()) as runner:
        for rows in (2, 4, 1, 3, 4, 2):
            x = batch(rows)
            outputs = runner.run({"x": x})
            assert outputs["y"].dtype == np.float32
            check_product(outputs["y"], x)


def case_the_engine_describes_itself() -> None:
    with opened(product_plan(SMALL, LARGE)) as runner:
        assert runner.inputs == (Tensor(name="x", dtype="float32", shape=(None, 3)),)
        assert runner.outputs == (Tensor(name="y", dtype="float32", shape=(None, 5)),)
        assert runner.num_profiles == 2
        assert runner.profiles[1] == {"x": ShapeRange(min=(8, 3), opt=(16, 3), max=(32, 3))}


def case_outputs_are_not_overwritten_by_the_next_run() -> None:
    with opened(product_plan()) as runner:
        first, x = runner.run({"x": np.ones((2, 3), np.float32)})["y"], batch(2)
        kept = first.copy()
        runner.run({"x": x})
        np.testing.assert_array_equal(first, kept)


def case_arrays_need_not_be_contiguous() -> None:
    x = batch(8)[::2]
    assert not x.flags.c_contiguous
    with opened(product_plan()) as runner:
        check_product(runner.run({"x": x})["y"], x)


def case_equal_or_smaller_shapes_allocate_nothing() -> None:
    asked: list[str] = []

    def counting(name: str) -> Any:
        real = getattr(cuda, name)

        def call(*arguments: Any) -> Any:
            asked.append(name)
            return real(*arguments)

        return call

    counted = {name: counting(name) for name in ("mem_alloc", "pagelocked_empty")}
    with patched(cuda, **counted), opened(product_plan()) as runner:
        runner.run({"x": batch(2)})
        assert sorted(asked) == ["mem_alloc", "mem_alloc", "pagelocked_empty", "pagelocked_empty"]
        runner.run({"x": batch(4)})
        assert len(asked) == 8, "they grow once"
        held = memory.count()
        for rows in (4, 4, 1, 3, 2, 4):
            runner.run({"x": batch(rows)})
        assert len(asked) == 8
        assert memory.count() == held == 4, "what was outgrown is freed"


def case_what_is_copied_is_page_locked_and_on_the_stream_of_the_run() -> None:
    seen: list[int] = []

    def watching(name: str) -> Any:
        real = getattr(cuda, name)

        def call(target: Any, source: Any, stream: Any) -> None:
            array = target if isinstance(target, np.ndarray) else source
            memory.at(array.ctypes.data, array.nbytes)  # an error where it is no allocation
            seen.append(stream.handle)
            real(target, source, stream)

        return call

    names = ("memcpy_htod_async", "memcpy_dtoh_async")
    with patched(cuda, **{name: watching(name) for name in names}), opened(product_plan()) as runner:
        runner.run({"x": batch(2)})
    assert len(seen) == 2
    assert len(set(seen)) == 1
    assert seen[0] != 0, "not the default stream"


def case_shapes_that_stay_are_not_set_again() -> None:
    shapes: list[Any] = []
    real = trt.IExecutionContext.set_input_shape

    def tell(self: Any, name: str, shape: Any) -> bool:
        shapes.append(shape)
        return bool(real(self, name, shape))

    with patched(trt.IExecutionContext, set_input_shape=tell), opened(product_plan()) as runner:
        for rows in (2, 2, 2, 3, 3):
            x = batch(rows)
            check_product(runner.run({"x": x})["y"], x)
    assert shapes == [(2, 3), (3, 3)]


def case_the_profile_that_fits_is_chosen() -> None:
    with nothing_left(), opened(product_plan(SMALL, LARGE)) as runner:
        for rows in (2, 16, 32, 3):
            x = batch(rows)
            check_product(runner.run({"x": x})["y"], x)
        with runner.bind({"x": batch(9)}) as bound:
            assert bound.context.active_optimization_profile == 1


def case_the_profile_in_use_is_kept_where_it_fits() -> None:
    with opened(product_plan(SMALL, ((1, 3), (4, 3), (32, 3)))) as runner:
        runner.run({"x": batch(2)}, profile=1)
        with runner.bind({"x": batch(3)}) as bound:
            assert bound.context.active_optimization_profile == 1
        with runner.bind({"x": batch(3)}, profile=0) as bound:
            assert bound.context.active_optimization_profile == 0


def case_values_decide_the_shape_of_an_output() -> None:
    with nothing_left(), opened(places_plan()) as runner:
        assert runner.outputs[0].shape == (2, None)
        for rows, ones in ((2, 3), (4, 12), (1, 0), (4, 1)):
            x = np.zeros(rows * 3, np.float32)
            x[:ones] = 1
            places = runner.run({"x": x.reshape(rows, 3)})["y"]
            np.testing.assert_array_equal(places, np.nonzero(x.reshape(rows, 3)))
            assert places.shape == (2, ones)


def case_memory_for_such_outputs_is_kept_too() -> None:
    with opened(places_plan()) as runner:
        runner.run({"x": np.ones((4, 3), np.float32)})
        held = memory.count()
        for rows in (4, 1, 2, 4):
            runner.run({"x": np.ones((rows, 3), np.float32)})
        assert memory.count() == held


def case_types_are_converted_where_nothing_is_lost() -> None:
    with opened(product_plan()) as runner:
        half = batch(2).astype(np.float16)
        check_product(runner.run({"x": half})["y"], half.astype(np.float32))
        pixels = np.array([[0, 127, 255]], np.uint8)
        check_product(runner.run({"x": pixels})["y"], pixels.astype(np.float32))
    with opened(whole_plan()) as runner:
        kind = "int32" if trt.__version__.startswith("8") else "int64"
        assert runner.inputs[0].dtype == kind
        for x in (np.array([1, -2, 2**30 - 1]), np.array([1, 2, 3], np.int16)):
            doubled = runner.run({"x": x})["y"]
            assert doubled.dtype == kind
            np.testing.assert_array_equal(doubled, 2 * x)


def case_a_tensor_that_decides_shapes_is_read_on_the_host() -> None:
    """The stand-in has none by itself: it is told that this one is."""

    def location(self: Any, name: str) -> Any:
        del self
        return trt.TensorLocation.HOST if name == "shape" else trt.TensorLocation.DEVICE

    reshaping = plan(
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
        {"x": (TensorProto.FLOAT, [6]), "shape": (TensorProto.INT64, [2])},
        (TensorProto.FLOAT, ["A", "B"]),
        [],
    )
    x, copied = np.arange(6, dtype=np.float32), []
    real = cuda.memcpy_htod_async

    def copy(target: Any, source: Any, stream: Any) -> None:
        copied.append(source.shape)
        real(target, source, stream)

    with (
        nothing_left(),
        patched(trt.ICudaEngine, get_tensor_location=location),
        patched(cuda, memcpy_htod_async=copy),
        opened(reshaping) as runner,
    ):
        for shape in ([2, 3], [6, 1], [1, 6]):
            outputs = runner.run({"x": x, "shape": np.array(shape)})
            np.testing.assert_array_equal(outputs["y"], x.reshape(shape))
    assert copied == [(6,)] * 3


def case_what_lies_between_two_profiles_is_not_measured() -> None:
    """The engine refuses a batch of 8, and with it the figures of all others would be lost."""
    apart = product_plan(SMALL, ((16, 3), (16, 3), (32, 3)))
    rows = {"min": 1, "opt": 2, "max": 4, "min 2/opt 2": 16, "max 2": 32}
    corners = [Corner(name, {"x": batch(count)}, {}, {}) for name, count in rows.items()]
    with nothing_left(), opened(apart) as runner:
        session = Session(trt, cuda, family_of("tensorrt", full_version(trt)), runner, GpuWatch(None))
        cases, left_out = session.measure(corners, 0.2, Phases(lambda *_: None))
    assert [case["batch"] for case in cases] == [1, 2, 4, 16, 32]
    assert left_out == []
