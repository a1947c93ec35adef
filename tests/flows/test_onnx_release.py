"""A release that is an ONNX graph already, with external data, from S3 to an engine of TensorRT-RTX."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from flows.build_release import build_release
from flows.cli.engines import read_all
from tasks.domain.record import ConversionRecord, Verdict
from tasks.domain.release import ReleaseRef
from tasks.store.store import Store

ROWS, WIDE = 256, 128


def files_of_release() -> dict[str, bytes]:
    """Return an ONNX graph in opset 13 whose weight is in a file beside it."""
    weights = np.random.default_rng(7).normal(size=(ROWS, WIDE)).astype(np.float32) / 16
    tensor = numpy_helper.from_array(weights, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="model.onnx.data")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", ROWS])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDE])]
    graph = helper.make_graph(nodes, "dense", inputs, outputs, [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return {"model.onnx": model.SerializeToString(), "model.onnx.data": weights.tobytes()}


@pytest.mark.slow
def test_an_onnx_release_with_external_data_becomes_an_engine(
    publish: Callable[..., ReleaseRef], stored_keys: Callable[[str], list[str]]
) -> None:
    outcome = asyncio.run(
        build_release(publish("targets: rtx-sm89\nprecisions: [fp32, fp16]\n", files_of_release()))
    )
    store = Store.connect(outcome.store)
    records = read_all(outcome)
    assert [record.options.precision for record in records] == ["fp32", "fp16"]
    for record in records:
        checked = record.graph_verification
        assert checked.verdict is Verdict.PASSED
        assert record.release.format == "model.onnx"
        assert "against onnxruntime" in checked.compared
        assert "TensorFlow" not in checked.compared + checked.reason
        assert not {name for name in record.tools if "tensorflow" in name or "keras" in name}
        assert [(spec.name, spec.shape) for spec in record.inputs] == [("x", (None, ROWS))]
    conversions = [store.find(key, ConversionRecord) for key in stored_keys("conversions/")]
    assert len(conversions) == len(records)
    assert all(each is not None and each.answered_by.startswith("onnxruntime ") for each in conversions)
