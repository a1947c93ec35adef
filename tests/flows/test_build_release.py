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
from flows.release.stored_engines import stored_outcome
from tasks.domain.errors import CellsFailed, DigestMismatch, NotStored, RequestInvalid, TargetUnavailable
from tasks.domain.order import ReleaseOutcome
from tasks.domain.overrides import AS_REQUESTED, Overrides
from tasks.domain.record import Verdict
from tasks.domain.release import ReleaseRef
from tasks.domain.request import Precision
from tasks.sign import sign_stored
from tasks.store.s3 import s3_client
from tasks.store.store import Store
from tasks.tensorrt.engine import BuiltEngine
from tasks.verify import verify_on_gpu
from tests.support.signed import signing_key

REQUEST = """
precisions: [fp32, fp16, int8]
targets: [rtx-sm89]
samples: samples.npz
"""


@pytest.fixture
def files(demo_model: bytes, demo_samples: bytes) -> dict[str, bytes]:
    """The files of the release, its request left out."""
    return {"model.keras": demo_model, "samples.npz": demo_samples}


@pytest.fixture
def release(publish: Callable[..., ReleaseRef], files: dict[str, bytes]) -> ReleaseRef:
    return publish(REQUEST, files)


@pytest.fixture
def outcome(built_before: None, release: ReleaseRef) -> ReleaseOutcome:
    """What came of the release; its conversions and engines may be those of an earlier test."""
    del built_before
    return asyncio.run(build_release(release))


@pytest.fixture
def built_here(converted_before: None, release: ReleaseRef) -> ReleaseOutcome:
    """What came of the release in its own bucket: records of another name other places."""
    del converted_before
    return asyncio.run(build_release(release))


@pytest.mark.usefixtures("results_kept")
def test_a_release_becomes_engines(release: ReleaseRef, stored_keys: Callable[[str], list[str]]) -> None:
    outcome = asyncio.run(build_release(release))
    precisions = [record.options.precision for record in read_all(outcome)]
    assert precisions == [Precision.FP32, Precision.FP16, Precision.INT8]
    assert all(cell.built for cell in outcome.cells)
    assert sorted(cell.key for cell in outcome.cells) == stored_keys("engines/")
    assert stored_keys("models/") == [
        f"models/digits/1/{name}" for name in ("build.yaml", "model.keras", "requests/1.yaml", "samples.npz")
    ]
    # A host with the key makes the same orders from what is stored.
    store = Store.connect(outcome.store)
    assert all(sign_stored(store, cell.key, signing_key()) for cell in outcome.cells)


def test_each_plan_in_the_store_is_the_one_of_its_record(outcome: ReleaseOutcome) -> None:
    for record in read_all(outcome):
        assert record.key.startswith(f"engines/digits/1/rtx-sm89/{record.target.version}/")
        stored = s3_client().get_object(Bucket=outcome.release.bucket, Key=record.plan.key)
        plan = stored["Body"].read()
        assert (hashlib.sha256(plan).hexdigest(), len(plan)) == (record.plan.sha256, record.plan.size)


def test_a_record_says_what_was_measured_and_what_was_not(outcome: ReleaseOutcome) -> None:
    for record in read_all(outcome):
        assert record.graph_verification.verdict is Verdict.PASSED
        comparisons = record.graph_verification.comparisons
        assert {comparison.corner for comparison in comparisons} == {"min", "opt", "max"}
        assert all(comparison.top1 == 1.0 for comparison in comparisons)
        assert record.engine_verification.verdict is Verdict.NOT_MEASURED
        assert record.engine_verification.reason
        assert record.timing is not None
        assert "measures no kernels" in record.timing.notes[0]
    assert 0 < read_all(outcome)[0].graph_verification.comparisons[0].noise < 1e-5


def test_a_record_says_what_an_engine_takes_and_was_made_from(
    outcome: ReleaseOutcome, files: dict[str, bytes]
) -> None:
    for record in read_all(outcome):
        inputs = [(spec.name, spec.dtype, spec.shape) for spec in record.inputs]
        assert inputs == [("image", "float32", (None, 8, 8, 1))]
        assert [spec.name for spec in record.outputs] == ["scores"]
        assert record.derived_shapes == ("image",)
        assert {file.path for file in record.release.files} == {"build.yaml", *files}


def test_each_precision_has_a_graph_of_its_own_and_one_reference(outcome: ReleaseOutcome) -> None:
    fp32, fp16, int8 = read_all(outcome)
    assert len({fp32.onnx, fp16.onnx, int8.onnx}) == 3
    assert fp32.reference == fp16.reference
    assert fp32.quantisation is None
    assert int8.quantisation is not None
    assert (int8.quantisation.quantised, int8.quantisation.quantisable, int8.quantisation.work) == (4, 4, 1.0)
    assert len(int8.quantisation.errors) == 3
    assert int8.quantisation.errors[int8.quantisation.calibration] < 0.05


def test_building_again_is_idempotent(release: ReleaseRef, built_here: ReleaseOutcome) -> None:
    again = asyncio.run(build_release(release))
    assert [(cell.key, cell.built) for cell in again.cells] == [
        (cell.key, False) for cell in built_here.cells
    ]
    assert asyncio.run(stored_outcome(release, AS_REQUESTED)) == again


def test_the_store_alone_tells_that_every_engine_is_there(
    publish: Callable[..., ReleaseRef],
    files: dict[str, bytes],
    release: ReleaseRef,
    built_here: ReleaseOutcome,
) -> None:
    def stored(**overrides: Any) -> int | None:
        answer = asyncio.run(stored_outcome(release, Overrides(**overrides)))
        return None if answer is None else len(answer.cells)

    assert stored() == 3
    assert stored(targets=("rtx-sm89", "rtx-sm120")) is None
    assert stored(precisions=(Precision.BF16,)) is None
    assert stored(targets=("rtx-sm89", "l4")) is None  # the flow says of which there is no agent
    with pytest.raises(TargetUnavailable):
        stored(targets=("l4",))

    publish("precisions: [fp16]\ntargets: rtx-sm89\nsamples: samples.npz\n", files)  # a corrected request
    assert stored() == 1
    publish("precisions: [fp16]\ntargets: rtx-sm89\nsamples: samples.npz\nworkspace_mib: 512\n", files)
    assert stored() is None
    publish(REQUEST, files | {"samples.npz": files["samples.npz"] + b"other bytes"})
    assert stored() is None
    publish("precisions: [fp16", files)
    with pytest.raises(RequestInvalid, match=r"--replace-request"):
        stored()
    assert built_here.cells


@pytest.mark.slow
def test_one_more_target_builds_only_the_new_cells(release: ReleaseRef, outcome: ReleaseOutcome) -> None:
    wider = asyncio.run(build_release(release, Overrides(targets=("rtx-sm89", "rtx-sm120"))))
    assert [cell.built for cell in wider.cells] == [False] * 3 + [True] * 3
    conversions = {(record.onnx, record.options.precision) for record in read_all(wider)}
    assert conversions == {(record.onnx, record.options.precision) for record in read_all(outcome)}


@pytest.mark.usefixtures("converted_before")
def test_a_plan_that_changes_on_disk_after_it_was_built_is_not_published(
    release: ReleaseRef, stored_keys: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def damage_and_verify(built: BuiltEngine, *rest: Any, **named: Any) -> Any:
        built.plan.write_bytes(built.plan.read_bytes()[:-1] + b"?")
        return await verify_on_gpu(built, *rest, **named)

    monkeypatch.setattr("flows.build_engine.verify_on_gpu", damage_and_verify)
    with pytest.raises(DigestMismatch):
        asyncio.run(build_release(release, Overrides(precisions=(Precision.FP16,))))
    assert stored_keys("engines/") == []


def test_an_engine_whose_plan_is_lost_is_not_found(release: ReleaseRef, outcome: ReleaseOutcome) -> None:
    plan = read_all(outcome)[0].plan
    s3_client().delete_object(Bucket=release.bucket, Key=plan.key)
    with pytest.raises(CellsFailed, match="move the record out of the store") as caught:
        asyncio.run(build_release(release))
    assert [type(error) for error in caught.value.cells.values()] == [NotStored]


@pytest.mark.usefixtures("converted_before")
def test_the_folder_for_files_may_not_exist_yet(release: ReleaseRef, work_dir: Path) -> None:
    assert not work_dir.exists()
    outcome = asyncio.run(build_release(release, Overrides(precisions=(Precision.FP16,))))
    assert [cell.built for cell in outcome.cells] == [True]
