"""The main job, on a real S3 server, a real Prefect server, with real TensorFlow and TensorRT-RTX."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.build_release import build_release
from flows.cli.engines import read_all
from tasks.domain.errors import DigestMismatch, NotStored
from tasks.domain.overrides import Overrides
from tasks.domain.record import Verdict
from tasks.domain.release import ReleaseRef
from tasks.domain.request import Precision
from tasks.store.s3 import s3_client
from tasks.tensorrt.engine import BuiltEngine
from tasks.verify import verify_on_gpu

REQUEST = """
precisions: [fp32, fp16, int8]
targets: [rtx-sm89]
samples: samples.npz
"""


def test_a_release_becomes_engines_once(
    publish: Callable[..., ReleaseRef],
    stored_keys: Callable[[str], list[str]],
    demo_model: bytes,
    demo_samples: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {"model.keras": demo_model, "samples.npz": demo_samples}
    release = publish(REQUEST, files)

    outcome = asyncio.run(build_release(release))

    records = read_all(outcome)
    assert [record.options.precision for record in records] == [
        Precision.FP32,
        Precision.FP16,
        Precision.INT8,
    ]
    assert all(cell.built for cell in outcome.cells)
    assert sorted(cell.key for cell in outcome.cells) == stored_keys("engines/")
    client = s3_client()
    for record in records:
        assert record.key.startswith(f"engines/digits/1/rtx-sm89/{record.target.version}/")
        plan = client.get_object(Bucket=release.bucket, Key=record.plan.key)["Body"].read()
        assert (hashlib.sha256(plan).hexdigest(), len(plan)) == (record.plan.sha256, record.plan.size)
        assert record.graph_verification.verdict is Verdict.PASSED
        assert {one.corner for one in record.graph_verification.comparisons} == {"min", "opt", "max"}
        assert all(one.top1 == 1.0 for one in record.graph_verification.comparisons)
        assert record.engine_verification.verdict is Verdict.NOT_MEASURED
        assert record.engine_verification.reason
        assert record.timing is not None
        assert "measures no kernels" in record.timing.notes[0]
        assert [(spec.name, spec.dtype, spec.shape) for spec in record.inputs] == [
            ("image", "float32", (None, 8, 8, 1))
        ]
        assert [spec.name for spec in record.outputs] == ["scores"]
        assert record.derived_shapes == ("image",)
        assert {file.path for file in record.release.files} == {"build.yaml", *files}
    fp32, fp16, int8 = records
    assert len({fp32.onnx, fp16.onnx, int8.onnx}) == 3
    assert fp32.quantisation is None
    assert int8.quantisation is not None
    assert (int8.quantisation.quantised, int8.quantisation.quantisable, int8.quantisation.work) == (4, 4, 1.0)
    assert len(int8.quantisation.errors) == 3
    assert int8.quantisation.errors[int8.quantisation.calibration] < 0.05
    assert fp32.reference == fp16.reference
    assert 0 < fp32.graph_verification.comparisons[0].noise < 1e-5

    again = asyncio.run(build_release(release))
    assert [(cell.key, cell.built) for cell in again.cells] == [(cell.key, False) for cell in outcome.cells]

    # One more target: the conversions are found, only the new cells are built.
    wider = asyncio.run(build_release(release, Overrides(targets=("rtx-sm89", "rtx-sm120"))))
    assert [cell.built for cell in wider.cells] == [False] * 3 + [True] * 3
    assert len(stored_keys("conversions/")) == 3

    # A plan that changes on this host's disk after it was built is not published.
    async def damage_and_verify(built: BuiltEngine, *rest: Any, **named: Any) -> Any:
        built.plan.write_bytes(built.plan.read_bytes()[:-1] + b"?")
        return await verify_on_gpu(built, *rest, **named)

    one_more = Overrides(targets=("rtx-sm121",), precisions=(Precision.FP16,))
    monkeypatch.setattr("flows.build_engine.verify_on_gpu", damage_and_verify)
    with pytest.raises(DigestMismatch):
        asyncio.run(build_release(release, one_more))
    assert not [key for key in stored_keys("engines/") if "rtx-sm121" in key]

    # An engine whose plan is gone is not "found".
    client.delete_object(Bucket=release.bucket, Key=fp32.plan.key)
    with pytest.raises(NotStored, match="move the record out of the store"):
        asyncio.run(build_release(release))
    assert stored_keys("models/") == [
        f"models/digits/1/{name}" for name in ("build.yaml", "model.keras", "samples.npz")
    ]


@pytest.mark.usefixtures("converted_before")
def test_the_folder_for_files_may_not_exist_yet(
    publish: Callable[..., ReleaseRef], work_dir: Path, demo_model: bytes
) -> None:
    assert not work_dir.exists()
    release = publish("targets: rtx-sm86\n", {"model.keras": demo_model})
    assert [cell.built for cell in asyncio.run(build_release(release)).cells] == [True]
