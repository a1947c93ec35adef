"""Builds for GPUs through the real flow, on a stand-in for them: see `tests.stand_in.toolchain`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from flows.build_release import build_release
from flows.cli.engines import read_all
from flows.cli.main import app
from tasks.children.compare import compare_outputs
from tasks.children.program import Confinement
from tasks.children.reference import read_reference
from tasks.children.sandbox import protection
from tasks.domain.digest import blob_ref
from tasks.domain.errors import TargetUnavailable, VerificationFailed
from tasks.domain.quarantine import QuarantineRecord, Subject
from tasks.domain.record import EngineRecord, Verdict
from tasks.domain.release import ReleaseRef
from tasks.sign import sign_stored
from tasks.store.store import Store
from tests.stand_in.toolchain import H100, L4, StandIn
from tests.support.rounding import beyond_rounding
from tests.support.signed import signing_key

pytestmark = pytest.mark.usefixtures("converted_before")

Keys = Callable[[str], list[str]]
REQUEST = "profile: false\ntargets: [h100-sxm-80gb]\nprecisions: [{precisions}]\nsamples: samples.npz\n"


@pytest.fixture
def publish_digits(
    publish: Callable[..., ReleaseRef], demo_model: bytes, demo_samples: bytes
) -> Callable[..., ReleaseRef]:
    """A function that publishes the demo's network for an H100."""

    def put(precisions: str = "fp32", version: str = "1") -> ReleaseRef:
        files = {"model.keras": demo_model, "samples.npz": demo_samples}
        return publish(REQUEST.format(precisions=precisions), files, version=version)

    return put


def built(release: ReleaseRef) -> list[EngineRecord]:
    return list(read_all(asyncio.run(build_release(release))))


@pytest.mark.parametrize("version", ["8.6.0", pytest.param("10.13.3.9", marks=pytest.mark.long)])
def test_an_engine_is_built_and_verified_on_its_gpu(
    version: str,
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    publish_digits: Callable[..., ReleaseRef],
    stored_keys: Keys,
) -> None:
    toolchain = stand_in(version=version)
    use_toolchains(toolchain)

    records = built(publish_digits("fp32, fp16, int8"))

    assert [record.options.precision for record in records] == ["fp32", "fp16", "int8"]
    full = {"8.6.0": "8.6.0.12"}.get(version, version)
    for record in records:
        assert (record.target.gpu, str(record.target.version)) == (H100.name, full)
        assert [str(compute) for compute in record.target.compute_capabilities] == ["9.0"]
        assert record.key.startswith(f"engines/digits/1/h100-sxm-80gb/{full}/")
        verification = record.engine_verification
        assert verification.verdict is Verdict.PASSED
        assert f"engine on {H100.name} in tensorrt {full}" in verification.compared
        assert {comparison.corner for comparison in verification.comparisons} == {"min", "opt", "max"}
        assert record.inputs[0].shape == (None, 8, 8, 1)
        # What held of the sandbox where the model was loaded, and where the plan was built.
        assert record.denied_to_model == protection().denied
        assert record.denied_to_build == protection(Confinement.DEVICE).denied
    assert [event["event"] for event in toolchain.events()] == ["build starts", "build ends"] * 3
    assert stored_keys("quarantine/") == []
    # A host with the key makes the same order and verdict from what is stored.
    store = Store.connect(f"s3://{records[0].release.ref.bucket}")
    assert all(sign_stored(store, record.key, signing_key()) for record in records)


def test_the_process_that_builds_stamps_the_record(
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    publish_digits: Callable[..., ReleaseRef],
    stored_keys: Keys,
) -> None:
    """The host was probed with an H100 in it; what finds itself on an L4 then builds nothing for an H100."""
    toolchain = stand_in(version="10.13.3.9")
    use_toolchains(toolchain)
    built(publish_digits())
    toolchain.becomes(gpus=(L4,))
    with pytest.raises(TargetUnavailable) as caught:
        built(publish_digits(version="2"))
    assert L4.name in caught.value.found
    assert H100.name in caught.value.wanted
    assert [key.split("/")[2] for key in stored_keys("engines/")] == ["1"]


def command(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["quarantine", *words])


def test_a_wrong_engine_goes_to_quarantine_and_can_be_seen_again(
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    publish_digits: Callable[..., ReleaseRef],
    stored_keys: Keys,
    tmp_path: Path,
) -> None:
    toolchain = stand_in(version="8.6.0", wrong=1.5)
    use_toolchains(toolchain)
    release = publish_digits()
    store = f"s3://{release.bucket}"

    with pytest.raises(VerificationFailed) as caught:
        built(release)

    (key,) = stored_keys("quarantine/")
    assert stored_keys("engines/") == []
    assert f"enginefarm quarantine reproduce {key} --store {store}" in caught.value.fix
    record = Store.connect(store).find(key, QuarantineRecord)
    assert record is not None
    assert (record.subject, record.target and record.target.gpu) == (Subject.ENGINE, H100.name)
    assert record.departure is not None
    assert record.departure.at is not None, "every tensor of this engine is half as large again"
    assert record.departure.relative == pytest.approx(0.5, rel=1e-3)
    assert f"; {record.departure}; " in caught.value.found

    toolchain.becomes(wrong=1.0)  # the engine in quarantine stays as wrong as it was built
    again = command("reproduce", key, "--store", store, "--keep", str(tmp_path / "kept"))
    assert isinstance(again.exception, VerificationFailed), again.output
    for comparison in record.verification.comparisons if record.verification else ():
        row = next(line for line in again.output.splitlines() if comparison.corner in line.split())
        assert row.count(f"{comparison.relative:.2e}") == 2, "as far off as it was then"
    kept = {name: tmp_path / "kept" / f"{name}.npz" for name in ("reference", "actual", "again")}
    for expected, then, now in zip(*map(read_reference, kept.values()), strict=True):
        wrong = {"scores": expected.outputs["scores"] * np.float32(1.5)}
        assert beyond_rounding(compare_outputs(then.name, wrong, then.outputs, expected.noise)) == []
        np.testing.assert_array_equal(then.outputs["scores"], now.outputs["scores"])
    assert record.plan == blob_ref((tmp_path / "kept/engine.plan").read_bytes())
    assert json.loads(command("show", key, "--store", store).output)["command"] in caught.value.fix

    assert len(built(release)) == 1, "a right engine of the same order is built and stored"
