"""Small engines for the cases, and what counts what they allocate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pycuda.driver as cuda
import pytest
import tensorrt as trt
from onnx import TensorProto, helper, numpy_helper

from tasks.domain.errors import FarmError
from tasks.tensorrt.inside.engine.runner import Runner
from tests.stand_in.hardware import contexts, memory
from tests.support.rounding import assert_equal_but_for_rounding

Corners = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
Array = npt.NDArray[Any]

WEIGHTS = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
SMALL: Corners = ((1, 3), (2, 3), (4, 3))
LARGE: Corners = ((8, 3), (16, 3), (32, 3))


def plan(
    node: onnx.NodeProto,
    inputs: dict[str, tuple[int, list[int | str]]],
    output: tuple[int, list[int | str]],
    profiles: list[dict[str, Corners]],
    weights: dict[str, Array] | None = None,
) -> bytes:
    """Build an engine of one node, whose output is y."""
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info(name, *form) for name, form in inputs.items()],
        [helper.make_tensor_value_info("y", *output)],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    logger = trt.Logger()
    builder = trt.Builder(logger)
    flag = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    assert trt.OnnxParser(network, logger).parse(model.SerializeToString())
    config = builder.create_builder_config()
    for shapes in profiles:
        profile = builder.create_optimization_profile()
        for name, corners in shapes.items():
            profile.set_shape(name, *corners)
        assert config.add_optimization_profile(profile) >= 0
    return bytes(builder.build_serialized_network(network, config))


def product_plan(*profiles: Corners) -> bytes:
    """An engine with y = x @ WEIGHTS, for batches."""
    return plan(
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        {"x": (TensorProto.FLOAT, ["N", 3])},
        (TensorProto.FLOAT, ["N", 5]),
        [{"x": corners} for corners in profiles or (SMALL,)],
        {"w": WEIGHTS},
    )


def places_plan() -> bytes:
    """An engine whose output has one column for each value that is not 0."""
    return plan(
        helper.make_node("NonZero", ["x"], ["y"]),
        {"x": (TensorProto.FLOAT, ["N", 3])},
        (TensorProto.INT64, [2, "M"]),
        [{"x": SMALL}],
    )


def whole_plan() -> bytes:
    """An engine with y = x + x in whole numbers: INT64 in ONNX, and INT32 in TensorRT 8."""
    return plan(
        helper.make_node("Add", ["x", "x"], ["y"]),
        {"x": (TensorProto.INT64, [3])},
        (TensorProto.INT64, [3]),
        [],
    )


def opened(data: bytes, *, gpu_index: int = 0) -> Runner:
    """Open a plan."""
    return Runner(trt, cuda, data, gpu_index=gpu_index)


def batch(rows: int) -> Array:
    """Return so many rows for `product_plan`, the same in every call."""
    return np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)


def check_product(y: Array, x: Array) -> None:
    """Hold an answer of `product_plan` against NumPy's."""
    assert_equal_but_for_rounding({"y": y}, lambda inputs: {"y": inputs["x"] @ WEIGHTS}, {"x": x})


@contextmanager
def nothing_left() -> Iterator[None]:
    """Hold that the body gives back all memory, and leaves the contexts of the thread as they were."""
    allocations, stack = memory.count(), list(contexts())
    yield
    assert memory.count() == allocations
    assert contexts() == stack


@contextmanager
def patched(owner: Any, **attributes: Any) -> Iterator[None]:
    """Give `owner` other attributes for the body."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in attributes.items():
            patch.setattr(owner, name, value)
        yield


def refusal(kind: type[FarmError], call: Callable[..., object], *arguments: Any, **named: Any) -> FarmError:
    """Return the error of a call, which must be a `kind`."""
    with pytest.raises(FarmError) as caught:
        call(*arguments, **named)
    assert type(caught.value) is kind, caught.value
    return caught.value
