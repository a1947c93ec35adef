"""INT8 and FP8 as the farm makes them: in a child process, measured on samples, built by TensorRT-RTX."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from tasks.children.run import Limits
from tasks.children.weights import scratch
from tasks.children.workspace import Workspace
from tasks.domain.errors import OperationUnsupported, RequestInvalid, SamplesInvalid
from tasks.domain.request import Calibration, Precision, ShapeRange
from tasks.onnx.graph import GraphWanted, LoweredGraph, lower_graph
from tasks.onnx.quantise.quantise import QuantisationWanted, quantise

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]

LIMITS = Limits(memory_mib=4096)
IMAGES = np.random.default_rng(1).normal(size=(40, 16, 8, 8)).astype(np.float32)


def lower(model: onnx.ModelProto, samples: Arrays, precision: Precision, folder: Path) -> LoweredGraph:
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "raw.onnx")
    np.savez(folder / "samples.npz", **samples)  # type: ignore[arg-type]
    opset = 19 if precision is Precision.FP8 else 17
    wanted = GraphWanted(precision=precision, opset=opset, samples=folder / "samples.npz")
    return asyncio.run(lower_graph(folder / "raw.onnx", wanted, work=Workspace(folder=folder, limits=LIMITS)))


def in_process(
    model: onnx.ModelProto, samples: Arrays, folder: Path, monkeypatch: pytest.MonkeyPatch, **wanted: Any
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Quantise without a child; nothing but the samples is left in `folder`."""
    monkeypatch.chdir(folder)
    np.savez("samples.npz", **samples)  # type: ignore[arg-type]
    asked: dict[str, Any] = {
        "calibration": Calibration.MINMAX,
        "precision": Precision.INT8,
        "tolerance": 0.1,
    } | wanted
    with scratch() as room:
        answer = quantise(
            model, QuantisationWanted(samples=Path("samples.npz"), **asked | wanted), room, lambda *_: None
        )
    assert [path.name for path in folder.iterdir()] == ["samples.npz"]
    return answer


@pytest.mark.parametrize(
    ("precision", "quantised", "typed", "tolerance"),
    [(Precision.INT8, 6, "INT8", 0.05), (Precision.FP8, 5, "FP8", 0.1)],
)
def test_a_graph_is_quantised_as_far_as_it_can_be_and_becomes_an_engine(
    residual: onnx.ModelProto,
    run_graph: Run,
    build_rtx: Callable[..., dict[str, Any]],
    tmp_path: Path,
    precision: Precision,
    quantised: int,
    typed: str,
    tolerance: float,
) -> None:
    graph = lower(residual, {"x": IMAGES}, precision, tmp_path)
    said = graph.quantisation
    assert said is not None
    assert (said.quantised, said.quantisable, said.rows) == (quantised, 6, 30)
    assert said.work == (1.0 if quantised == 6 else pytest.approx(0.93, abs=0.05))
    assert set(said.errors) == {Calibration.MINMAX, Calibration.ENTROPY, Calibration.PERCENTILE}
    assert said.errors[said.calibration] == min(said.errors.values())
    feeds = {"x": np.random.default_rng(2).normal(size=(8, 16, 8, 8)).astype(np.float32)}
    (wanted,), (actual,) = run_graph(residual, feeds), run_graph(onnx.load(graph.onnx), feeds)
    assert 1e-5 < np.abs(actual - wanted).max() / np.abs(wanted).max() < tolerance
    engine = build_rtx(graph.onnx, (16, 8, 8))
    assert engine["types"].count(typed) >= quantised
    assert engine["inputs"] == engine["outputs"] == ["DataType.FLOAT"]


def test_the_same_samples_give_the_same_graph(
    residual: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (in_process(residual, {"x": IMAGES}, tmp_path, monkeypatch) for _ in "ab")
    assert first[0].SerializeToString() == second[0].SerializeToString()
    assert first[1] == second[1]


def test_without_samples_nothing_is_started(residual: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(residual, tmp_path / "raw.onnx")
    wanted = GraphWanted(precision=Precision.INT8, opset=17)
    with pytest.raises(RequestInvalid, match=r"none in build\.yaml"):
        asyncio.run(
            lower_graph(tmp_path / "raw.onnx", wanted, work=Workspace(folder=tmp_path, limits=LIMITS))
        )
    assert [path.name for path in tmp_path.iterdir()] == ["raw.onnx"]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"other": IMAGES}, "only other"),
        ({"x": IMAGES[0]}, r"shape \(16, 8, 8\)"),
        ({"x": IMAGES[:0]}, r"shape \(0, 16, 8, 8\)"),
        ({"x": np.zeros_like(IMAGES)}, "only equal rows"),
        ({"x": np.repeat(IMAGES[:1], 40, axis=0)}, "only equal rows"),
        ({"x": np.ones_like(IMAGES[:1])}, "one number"),
        ({"x": np.where(np.arange(40)[:, None, None, None] == 7, np.inf, IMAGES)}, "infinity in row 7"),
    ],
)
def test_samples_that_do_not_fit(
    residual: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: Arrays, message: str
) -> None:
    with pytest.raises(SamplesInvalid, match=message):
        in_process(residual, samples, tmp_path, monkeypatch)


def test_a_graph_without_products_is_no_int8_graph(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = parse("g (float[n, 4] x) => (float[n, 4] y) { y = Relu (x) }")
    with pytest.raises(RequestInvalid, match="leave int8 out"):
        in_process(model, {"x": IMAGES[:, :4, 0, 0]}, tmp_path, monkeypatch)


def test_what_int8_cannot_hold_is_left_out_and_the_rest_stays(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_graph: Run
) -> None:
    """One column a thousand times larger than the others: in INT8 the others are zero."""
    rng = np.random.default_rng(4)
    model = parse(
        """
        g (float[n, 64] x) => (float[n, 4] y) {
            a = MatMul (x, one)
            b = Relu (a)
            c = MatMul (b, two)
            d = Mul (c, stretch)
            e = MatMul (d, small)
            y = Tanh (e)
        }
        """,
        one=rng.normal(size=(64, 64)).astype(np.float32) / 8,
        two=rng.normal(size=(64, 8)).astype(np.float32) / 8,
        stretch=np.array([5000] + [1] * 7, np.float32),
        small=np.concatenate([np.zeros((1, 4)), rng.normal(size=(7, 4))]).astype(np.float32),
    )
    samples = {"x": rng.normal(size=(64, 64)).astype(np.float32)}
    low, said = in_process(model, samples, tmp_path, monkeypatch)
    assert (said["quantised"], said["quantisable"]) == (2, 3)
    assert said["work"] == pytest.approx(4608 / 4640)
    assert said["errors"][Calibration.MINMAX] < 0.05
    assert [node.input[0] for node in low.graph.node if node.output[0] == "e"] == ["d"]
    (wanted,), (actual,) = run_graph(model, samples), run_graph(low, samples)
    assert np.abs(actual - wanted).max() < 0.1
    # Where nothing may be left out, the error is there for the gate to see.
    _, all_of_it = in_process(model, samples, tmp_path, monkeypatch, tolerance=10.0)
    assert all_of_it["quantised"] == 3
    assert all_of_it["errors"][Calibration.MINMAX] > 0.3


def test_a_named_calibration_is_the_only_one_that_is_tried(
    residual: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, said = in_process(residual, {"x": IMAGES}, tmp_path, monkeypatch, calibration=Calibration.PERCENTILE)
    assert list(said["errors"]) == [said["calibration"]] == [Calibration.PERCENTILE]


def test_fixed_batches_several_inputs_and_rows_of_other_sizes(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are repeated to fill a fixed batch, and cut or repeated to the shapes that are asked for."""
    model = parse(
        """
        g (float[4, t, 8] x, int64[4] pick) => (float[4, t, 3] y) {
            sizes = Gather (table, pick)
            wide = Unsqueeze (sizes, axes)
            scaled = Mul (x, wide)
            y = MatMul (scaled, weight)
        }
        """,
        table=np.array([1, 2], np.float32),
        axes=np.array([1, 2], np.int64),
        weight=np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32),
    )
    samples = {
        "x": np.random.default_rng(3).normal(size=(6, 9, 8)).astype(np.float32),
        "pick": np.array([0, 1, 1]),
    }
    shape = ShapeRange(min=(4, 2, 8), opt=(4, 5, 8), max=(4, 20, 8))
    low, said = in_process(model, samples, tmp_path, monkeypatch, shapes={"x": shape})
    assert (said["quantised"], said["rows"]) == (1, 6)
    scale = next(tensor for tensor in low.graph.initializer if tensor.name == "scaled_scale")
    picked = samples["pick"][np.arange(6) % 3] + 1
    largest = np.abs(samples["x"][:, :5] * picked[:, None, None]).max()
    assert onnx.numpy_helper.to_array(scale) == pytest.approx(largest / 127)


def test_values_without_a_range_stay_in_fp32(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = parse(
        "g (float[n, 4] x) => (float[n, 4] y)"
        "{ a = MatMul (x, w) b = Log (a) c = Clip (b, low) y = MatMul (c, w) z = MatMul (b, w) }",
        w=np.eye(4, dtype=np.float32),
        low=np.float32(-3),
    )
    samples = {"x": np.abs(IMAGES[:, :4, 0, 0])}
    samples["x"][1, 0] = 0  # its logarithm has no finite value
    _, said = in_process(model, samples, tmp_path, monkeypatch)
    assert (said["quantised"], said["quantisable"]) == (2, 3)


def test_layers_without_any_finite_value_are_the_fault_of_the_samples(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = parse(
        "g (float[n, 4] x) => (float[n, 4] y) { a = Log (x) y = MatMul (a, w) }",
        w=np.eye(4, dtype=np.float32),
    )
    samples = {"x": IMAGES[:, :4, 0, 0]}
    with pytest.raises(SamplesInvalid, match="NaN or infinity in a, before every layer that int8"):
        in_process(model, samples, tmp_path, monkeypatch)


@pytest.mark.parametrize(("rows", "warning"), [(63, "few samples: 63 rows"), (64, "")])
def test_few_samples_are_said(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, warning: str
) -> None:
    model = parse("g (float[n, 4] x) => (float[n, 4] y) { y = MatMul (x, w) }", w=np.eye(4, dtype=np.float32))
    samples = {"x": np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)}
    _, said = in_process(model, samples, tmp_path, monkeypatch)
    assert said["warning"].startswith(warning)
    assert bool(said["warning"]) == bool(warning)


def test_samples_on_which_the_graph_stops(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = parse(
        "g (float[n, t] x) => (float[n, 2] y) { a = Reshape (x, size) y = MatMul (a, w) }",
        size=np.array([-1, 16], np.int64),
        w=np.ones((16, 2), np.float32),
    )
    with pytest.raises(OperationUnsupported, match="Reshape"):
        in_process(model, {"x": np.eye(3, 7, dtype=np.float32)}, tmp_path, monkeypatch)
    assert list(tmp_path.glob("*.onnx")) == []
