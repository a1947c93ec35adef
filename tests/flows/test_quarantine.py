"""What does not pass the gate goes to quarantine, never to the engines, and can be seen again from there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner, Result

from flows.build_release import build_release
from flows.cli.main import app
from tasks.children.compare import compare_outputs
from tasks.children.reference import answer, read_reference, write_reference
from tasks.domain.digest import blob_ref
from tasks.domain.errors import DigestMismatch, NotStored, TargetUnavailable, VerificationFailed
from tasks.domain.gate import require_pass
from tasks.domain.quarantine import QuarantineRecord, Subject
from tasks.domain.record import Comparison, Verdict, Verification
from tasks.domain.release import ReleaseRef
from tasks.lower import lower
from tasks.onnx.graph import LoweredGraph
from tasks.store.s3 import s3_client
from tasks.store.store import Store
from tasks.tensorrt.engine import BuiltEngine
from tasks.tensorrt.site import BuildSite
from tasks.verify import Evidence

REQUEST = "targets: [rtx-sm89]\nsamples: samples.npz\n"
Keys = Callable[[str], list[str]]


@pytest.fixture
def release(publish: Callable[..., ReleaseRef], demo_model: bytes, demo_samples: bytes) -> ReleaseRef:
    return publish(REQUEST, {"model.keras": demo_model, "samples.npz": demo_samples})


@pytest.fixture
def wrong_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lowering change the last weights, so that the graph computes something else."""

    async def lower_wrongly(*args: Any, **named: Any) -> LoweredGraph:
        graph = await lower(*args, **named)
        model = onnx.load(graph.onnx)
        weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1][-1]
        changed = numpy_helper.to_array(weights)[..., ::-1].copy()
        weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
        onnx.save(model, graph.onnx)
        return graph

    monkeypatch.setattr("flows.release.conversion.lower", lower_wrongly)


@pytest.fixture
def wrong_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine, on a GPU that this host need not have, answer 1.5 times what TensorFlow does."""

    async def answer_wrongly(
        built: BuiltEngine, site: BuildSite, evidence: Evidence, **named: Any
    ) -> Verification:
        del built, site, named
        rows, answers = [], []
        for corner in read_reference(evidence.reference):
            actual = {name: value * 1.5 for name, value in corner.outputs.items()}
            answers.append(answer(corner.name, actual))
            rows += compare_outputs(corner.name, corner.outputs, actual, corner.noise)
        write_reference(evidence.actual, answers)
        comparisons = tuple(Comparison(**row) for row in rows)
        return require_pass(evidence.judge(comparisons, "two tests"), "the engine")

    monkeypatch.setattr("flows.build_engine.verify_on_gpu", answer_wrongly)


def refusal_of(release: ReleaseRef) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        asyncio.run(build_release(release))
    return caught.value


def command(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["quarantine", *words])


def the_record(release: ReleaseRef, keys: Keys, error: VerificationFailed) -> QuarantineRecord:
    """Return the one record in quarantine, which the error must name; nothing else may be published."""
    (key,) = keys("quarantine/")
    store = f"s3://{release.bucket}"
    assert f"{key} in {store}" in error.found
    reproduce = f"enginefarm quarantine reproduce {key} --store {store}"
    assert reproduce in error.fix
    assert keys("engines/") == []
    record = Store.connect(store).find(key, QuarantineRecord)
    assert record is not None
    assert (record.command, record.exit_code) == (reproduce, error.exit_code)
    assert record.error["class"] == "VerificationFailed"
    assert record.verification is not None
    assert record.verification.verdict is Verdict.FAILED
    return record


@pytest.mark.slow
@pytest.mark.usefixtures("wrong_graph")
def test_a_graph_that_is_off(release: ReleaseRef, stored_keys: Keys, tmp_path: Path) -> None:
    error = refusal_of(release)

    record = the_record(release, stored_keys, error)
    assert stored_keys("conversions/") == []
    (left,) = stored_keys("leases/")  # tells those that waited
    assert left.startswith("leases/conversions/")
    assert (record.subject, record.plan, record.target) == (Subject.GRAPH, None, None)
    assert record.key.startswith("quarantine/digits/1/graph/fp32-")
    assert {file.path for file in record.release.files} == {"build.yaml", "model.keras", "samples.npz"}

    store = f"s3://{release.bucket}"
    listed = command("list", "--store", store)
    assert record.key in "".join(listed.output.split())
    assert json.loads(command("show", record.key, "--store", store).output)["key"] == record.key
    assert json.loads(command("list", "--store", store, "--model", "other", "--json").output) == []

    again = command("reproduce", record.key, "--store", store, "--keep", str(tmp_path / "kept"))
    assert isinstance(again.exception, VerificationFailed)
    assert again.exception.exit_code == error.exit_code
    for comparison in record.verification.comparisons if record.verification else ():
        row = next(line for line in again.output.splitlines() if line.startswith(f"{comparison.corner} "))
        assert row.count(f"{comparison.relative:.2e}") == 2, "as far off as it was then"
    for name in ("actual", "again"):
        for then, now in zip(
            read_reference(tmp_path / "kept/actual.npz"),
            read_reference(tmp_path / f"kept/{name}.npz"),
            strict=True,
        ):
            np.testing.assert_array_equal(then.outputs["scores"], now.outputs["scores"])
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "model.onnx", "reference.npz", "actual.npz", "again.npz", "record.json",
    }  # fmt: skip

    # Bytes that were changed since then are not run.
    assert record.actual is not None
    s3_client().put_object(Bucket=release.bucket, Key=record.onnx.key, Body=b"another graph")
    assert isinstance(command("reproduce", record.key, "--store", store).exception, DigestMismatch)
    assert isinstance(command("show", f"{record.key}x", "--store", store).exception, NotStored)


@pytest.mark.usefixtures("wrong_engine", "converted_before")
def test_an_engine_that_is_off(release: ReleaseRef, stored_keys: Keys, tmp_path: Path) -> None:
    record = the_record(release, stored_keys, refusal_of(release))

    assert record.subject is Subject.ENGINE
    assert record.key.startswith("quarantine/digits/1/rtx-sm89/")
    assert record.toolchain is not None
    assert record.plan is not None
    assert record.actual is not None

    kept, store = tmp_path / "kept", f"s3://{release.bucket}"
    again = command("reproduce", record.key, "--store", store, "--keep", str(kept))
    assert isinstance(again.exception, TargetUnavailable), "no GPU is needed to get the files"
    blobs = {"engine.plan": record.plan, "model.onnx": record.onnx, "actual.npz": record.actual}
    for name, blob in blobs.items():
        assert blob_ref((kept / name).read_bytes()) == blob
    for expected, actual in zip(
        read_reference(kept / "reference.npz"), read_reference(kept / "actual.npz"), strict=True
    ):
        np.testing.assert_array_equal(actual.outputs["scores"], expected.outputs["scores"] * 1.5)
