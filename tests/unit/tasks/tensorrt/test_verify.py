"""Before an engine runs: its bytes must be the ones that were stored, and pycuda must be there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
import pytest

from tasks.children.compare import Arrays
from tasks.children.reference import Corner, read_reference, write_reference
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import (
    DigestMismatch,
    FarmError,
    GpuUnavailable,
    RunFailed,
    RunnerMissing,
    VerificationFailed,
)
from tasks.domain.record import Comparison
from tasks.tensorrt.engine import BuiltEngine
from tasks.tensorrt.inside import verify
from tasks.tensorrt.toolchain import Toolchain
from tasks.tensorrt.verification import verify_engine
from tests.stand_in.toolchain import StandIn
from tests.support.rounding import beyond_rounding, noise_of

PLAN = bytes(range(256)) * 4


@pytest.fixture
def verify_error(rtx: Toolchain, tmp_path: Path, limits: Limits) -> Callable[..., FarmError]:
    """A function that runs a plan that must fail, and returns the error."""
    reference = tmp_path / "reference.npz"
    tensors = {"x": np.zeros((1, 3), np.float32)}
    write_reference(reference, [Corner("min", tensors, tensors, {"x": 0.0})])
    plan = tmp_path / "engine.plan"

    def run(data: bytes, expected: BlobRef) -> FarmError:
        plan.write_bytes(data)
        with pytest.raises(FarmError) as caught:
            asyncio.run(
                verify_engine(
                    rtx,
                    plan,
                    expected,
                    reference,
                    gpu_index=0,
                    work=Workspace(folder=tmp_path, limits=limits),
                )
            )
        return caught.value

    return run


@pytest.mark.parametrize(
    "tampered", [PLAN[:-1], PLAN + b"\0", PLAN[:24] + b"\xff" + PLAN[25:]], ids=["short", "long", "flipped"]
)
def test_other_bytes_are_never_given_to_tensorrt(
    tampered: bytes, verify_error: Callable[..., FarmError]
) -> None:
    error = verify_error(tampered, blob_ref(PLAN))
    assert isinstance(error, DigestMismatch)
    assert blob_ref(PLAN).sha256 in error.wanted
    assert blob_ref(tampered).sha256 in error.found


@pytest.mark.skipif(find_spec("pycuda") is not None, reason="pycuda is installed here")
def test_without_pycuda_it_says_what_to_install(
    verify_error: Callable[..., FarmError], rtx: Toolchain
) -> None:
    error = verify_error(PLAN, blob_ref(PLAN))
    assert isinstance(error, RunnerMissing)
    assert not error.retryable
    assert "No module named 'pycuda'" in error.found
    assert "install pycuda" in error.fix
    assert rtx.interpreter in error.fix


class Doubling:
    """Stands for an engine on a GPU: answers twice what it is given, and fails at the second corner."""

    inputs = ()

    def __init__(self, *_: object, **__: object) -> None:
        self.runs = 0

    def profiles_for(self, inputs: Arrays) -> tuple[int, ...]:
        return (0,) if inputs else ()

    def run(self, inputs: Arrays, *, profile: int) -> Arrays:
        assert profile == 0
        self.runs += 1
        if self.runs > 1:
            raise RunFailed(wanted="to run", found="an error", fix="none")
        return {"y": 2 * inputs["x"]}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_what_an_engine_answered_is_left_up_to_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.arange(3, dtype=np.float32)
    corners = [Corner(name, {"x": x}, {"y": x}, {"y": 0.0}) for name in ("min", "opt")]
    write_reference(tmp_path / "reference.npz", corners)
    (tmp_path / "engine.plan").write_bytes(PLAN)
    monkeypatch.setattr(verify, "Runner", Doubling)
    monkeypatch.setattr(verify, "load", lambda _: None)
    monkeypatch.setattr(verify, "load_pycuda", lambda: None)
    ref = blob_ref(PLAN)
    request = {
        "module": "tensorrt", "plan": str(tmp_path / "engine.plan"), "sha256": ref.sha256, "size": ref.size,
        "reference": str(tmp_path / "reference.npz"), "actual": str(tmp_path / "actual.npz"),
        "gpu_index": 0, "plugins": [], "carries_code": False,
    }  # fmt: skip
    with pytest.raises(VerificationFailed, match="an error"):
        verify.main(request, lambda *_: None)
    (answered,) = read_reference(tmp_path / "actual.npz")
    assert answered.name == "min"
    np.testing.assert_array_equal(answered.outputs["y"], 2 * x)


@pytest.fixture
def verify_engine_of(
    stand_in: Callable[..., StandIn],
    build_on: Callable[[StandIn], tuple[Toolchain, BuiltEngine]],
    conv_net: Callable[..., Path],
    limits: Limits,
    tmp_path: Path,
) -> Callable[..., tuple[Comparison, ...]]:
    """A function that builds an engine on a stand-in and compares it with the graph in onnxruntime."""

    def run(
        *, rows: tuple[int, ...] = (1, 4, 8), dtype: type = np.float32, **what: Any
    ) -> tuple[Comparison, ...]:
        engine_job, built = build_on(stand_in(**what))
        session = onnxruntime.InferenceSession(str(conv_net(1)), providers=["CPUExecutionProvider"])

        def compute(inputs: Arrays) -> Arrays:
            return {"y": np.asarray(session.run(["y"], {"x": inputs["x"].astype(np.float32)})[0])}

        corners = []
        for count in rows:
            x: np.ndarray = np.random.default_rng(count).standard_normal((count, 3, 32, 32)).astype(dtype)
            corners.append(Corner(f"{count} rows", {"x": x}, compute({"x": x}), noise_of(compute, {"x": x})))
        write_reference(tmp_path / "reference.npz", corners)
        verifying = verify_engine(
            engine_job, built.plan, built.ref, tmp_path / "reference.npz",
            actual=tmp_path / "actual.npz", gpu_index=0, work=Workspace(folder=tmp_path, limits=limits),
        )  # fmt: skip
        return asyncio.run(verifying)

    return run


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_engine_is_compared_at_each_corner(
    dtype: type, verify_engine_of: Callable[..., tuple[Comparison, ...]], tmp_path: Path
) -> None:
    """FP64 inputs reach an engine with FP32 ones as such: TensorRT-RTX makes it so, too."""
    rows = verify_engine_of(dtype=dtype)
    assert [(row.corner, row.values) for row in rows] == [("1 rows", 10), ("4 rows", 40), ("8 rows", 80)]
    assert beyond_rounding(map(asdict, rows)) == []
    assert [corner.outputs["y"].shape for corner in read_reference(tmp_path / "actual.npz")] == [
        (1, 10), (4, 10), (8, 10),
    ]  # fmt: skip


def test_an_engine_that_is_off_is_seen(verify_engine_of: Callable[..., tuple[Comparison, ...]]) -> None:
    assert [row.relative for row in verify_engine_of(wrong=1.5)] == pytest.approx([0.5] * 3, rel=1e-4)


def test_reference_inputs_that_an_engine_does_not_take_are_its_fault(
    verify_engine_of: Callable[..., tuple[Comparison, ...]], tmp_path: Path
) -> None:
    with pytest.raises(VerificationFailed, match=r"from \[1, 3, 32, 32\] to \[8, 3, 32, 32\]"):
        verify_engine_of(rows=(2, 9))
    (answered,) = read_reference(tmp_path / "actual.npz")
    assert answered.name == "2 rows"
    with pytest.raises(VerificationFailed, match="type int64"):
        verify_engine_of(dtype=np.int64)


def test_a_gpu_without_memory_is_no_verdict(verify_engine_of: Callable[..., tuple[Comparison, ...]]) -> None:
    with pytest.raises(GpuUnavailable, match="out of memory"):
        verify_engine_of(fault="gpu-memory-run")
