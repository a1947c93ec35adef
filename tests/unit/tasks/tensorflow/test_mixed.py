"""Models that compute in FP16 or BF16 themselves: numbers, verdicts and engines in three precisions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.gate import judge
from tasks.domain.record import Comparison, Verdict, Verification
from tasks.domain.request import DEFAULT_TOLERANCES, BuildRequest, Precision
from tasks.onnx.graph import compare_graph

pytestmark = pytest.mark.slow

PRECISIONS = (Precision.FP32, Precision.FP16, Precision.BF16)
MIXED = {
    f"{model}_{kind}": own
    for kind, own in (("float16", Precision.FP16), ("bfloat16", Precision.BF16))
    for model in ("picture", "attention", "lstm", "tokens", "loop")
} | {"border": Precision.FP16}
ALL = MIXED | {"only_data": Precision.FP32}
LOW = {"FLOAT16", "BFLOAT16"}


@pytest.fixture(scope="module")
def models(convert_functions: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What became of every model, by name."""
    return convert_functions("mixed_models.py", *PRECISIONS)


def verdict(rows: tuple[Comparison, ...], tolerance: float) -> Verification:
    return judge(rows, compared="", inputs="", tolerance=tolerance)


def rows_of(cell: dict[str, Any]) -> tuple[Comparison, ...]:
    return tuple(Comparison(**row) for row in cell["comparisons"])


def test_every_model_is_here(models: dict[str, Any]) -> None:
    assert set(models) == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_its_own_arithmetic_is_read_from_its_graph(models: dict[str, Any], name: str) -> None:
    assert models[name]["plan"]["arithmetic"] == ALL[name]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ALL)
def test_it_passes_the_gate_in_every_precision(
    models: dict[str, Any], name: str, precision: Precision
) -> None:
    rows = rows_of(models[name]["cells"][precision])
    assert {"min", "opt", "max"} <= {row.corner for row in rows}
    tolerance = BuildRequest().tolerance(precision, ALL[name])
    assert tolerance == max(DEFAULT_TOLERANCES[precision], DEFAULT_TOLERANCES[ALL[name]])
    assert verdict(rows, tolerance).verdict is Verdict.PASSED


@pytest.mark.parametrize("name", MIXED)
def test_tensorflow_s_noise_is_of_a_step_that_its_rounding_sees(models: dict[str, Any], name: str) -> None:
    rows = rows_of(models[name]["cells"][Precision.FP32])
    step = 2.0**-10 if MIXED[name] is Precision.FP16 else 2.0**-7
    noise = max(row.noise for row in rows)
    assert step / 8 < noise < 8 * step
    assert max(row.relative for row in rows) < 4 * noise


@pytest.mark.parametrize("name", ALL)
def test_fp32_means_fp32(models: dict[str, Any], name: str) -> None:
    assert not LOW & set(models[name]["cells"][Precision.FP32]["types"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ALL)
def test_it_becomes_an_engine(models: dict[str, Any], name: str, precision: Precision) -> None:
    cell = models[name]["cells"][precision]
    if name.startswith("loop") and precision is not Precision.FP32:  # bodies of loops stay in FP32
        assert "nothing in this model computes in it" in cell["engine"]
        return
    assert cell["engine"] == "built"
    if precision is not Precision.FP32:
        assert LOW & set(cell["types"]) == {"FLOAT16" if precision is Precision.FP16 else "BFLOAT16"}


@pytest.mark.parametrize("name", ["picture_float16", "picture_bfloat16"])
def test_a_wrong_graph_still_fails(models: dict[str, Any], name: str, tmp_path: Path, limits: Limits) -> None:
    """A kernel that is twice as large: no rounding does that, not even that of BF16."""
    cell = models[name]["cells"][Precision.FP32]
    graph = onnx.load(cell["graph"])
    kernel = max(graph.graph.initializer, key=lambda tensor: len(tensor.dims))
    kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel) * np.float32(2), kernel.name))
    onnx.save(graph, tmp_path / "wrong.onnx")
    reference = Path(cell["reference"])
    rows = asyncio.run(
        compare_graph(tmp_path / "wrong.onnx", reference, work=Workspace(folder=tmp_path, limits=limits))
    )
    answer = verdict(rows, BuildRequest().tolerance(Precision.FP32, MIXED[name]))
    assert answer.verdict is Verdict.FAILED
    assert "TensorFlow's own noise there is" in answer.reason


def test_a_tolerance_in_the_request_stands(models: dict[str, Any]) -> None:
    """Who asks for more than TensorFlow's own rounding allows is told that nobody can say."""
    request = BuildRequest(tolerances={Precision.FP32: 1e-4})
    assert request.tolerance(Precision.FP32, Precision.FP16) == 1e-4
    answer = verdict(rows_of(models["picture_float16"]["cells"][Precision.FP32]), 1e-4)
    assert answer.verdict is Verdict.INCONCLUSIVE
